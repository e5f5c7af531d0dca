"""A command as a job of a Ray cluster, from a machine outside it: submitted, followed, found again."""

import asyncio
import logging
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import ClientError
from ray.dashboard.modules.job.pydantic_models import JobDetails
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from phreg.errors import ClusterError, ConfigError
from phreg.execution.authentication import refused

ANSWER_S = 30.0  # for any request
QUIET_S = 60.0  # of a followed log, after which it is asked for anew: connections die without a word
PATIENCE_S = 120.0  # with a head that takes no job yet, or, while one is followed, does not answer
RETRY_S = 2.0
STOPPED = 130  # exit code of a job that was stopped, as by Ctrl-C
NOT_FOUND = 127  # a shell's, for no such command
_OVERRIDES_ADDRESS = "RAY_API_SERVER_ADDRESS"  # Ray takes it, or RAY_ADDRESS, whatever a client is given
_PASSES = ("already exists", "No available agent")  # another took the number; a head that is about to start
_NO_ANSWER = (OSError, RuntimeError, ClientError, ValueError, KeyError)  # what Ray's client raises then


class Jobs:
    """The jobs of the cluster whose dashboard is at an `http(s)://HOST:PORT`.

    Raises `ConfigError` if none answers there, or wants another token than Ray finds (`authentication.py`).
    """

    def __init__(self, address: str) -> None:
        self._address = address
        if not re.match(r"https?://[^/]", address):
            raise _unreachable(address, "no such URL")
        for module in (
            "dashboard.modules.job.sdk",
            "dashboard.modules.dashboard_sdk",
            "_private.runtime_env",
        ):
            logging.getLogger(f"ray.{module}").setLevel(logging.ERROR)
        before = os.environ.get(_OVERRIDES_ADDRESS)
        os.environ[_OVERRIDES_ADDRESS] = address
        try:
            self._client = _Client(address)
        except AuthenticationError:
            raise refused(address) from None
        except _NO_ANSWER as error:
            raise _unreachable(address, str(error)[:300]) from None
        finally:
            del os.environ[_OVERRIDES_ADDRESS]
            if before is not None:
                os.environ[_OVERRIDES_ADDRESS] = before

    def submit(
        self, stem: str, command: Sequence[str], files: Mapping[str, bytes], environment: Mapping[str, str]
    ) -> tuple[str, bool]:
        """Have the command run on the head, in a folder with these files; the job's id, `STEM-NUMBER`.

        If one of this stem is at work, or waits, it is that one, and True. Files are no part of what a
        cluster shows of a job, but it keeps them; command and environment are. Raises `ClusterError` if the
        cluster does not take it.
        """
        end = time.monotonic() + PATIENCE_S
        while True:
            jobs = self._of(stem)
            for number, job in sorted(jobs.items()):
                if not job.status.is_terminal():
                    return f"{stem}-{number}", True
            name = f"{stem}-{max(jobs, default=0) + 1}"
            with tempfile.TemporaryDirectory(prefix="phreg-job-") as folder:
                for file, content in files.items():
                    (Path(folder) / file).write_bytes(content)
                try:
                    runtime = {"working_dir": folder} if files else {}
                    self._client.submit_job(
                        entrypoint=shlex.join(command),
                        submission_id=name,
                        runtime_env=runtime | {"env_vars": dict(environment)},
                        metadata={"job_name": stem},
                    )
                    return name, False
                except _NO_ANSWER as error:
                    if not any(words in str(error) for words in _PASSES) or time.monotonic() > end:
                        raise self._not_taken(error) from None
            time.sleep(RETRY_S)

    def follow(self, job: str, write: Callable[[str], None]) -> int:
        """Write the job's log until it ends; its exit code. Raises `ConfigError` if the head has no such
        command, `ClusterError` if the cluster does not answer any more (the job may go on), and what `write`
        raises."""
        written, answered = 0, time.monotonic()

        def new(log: str, start: int) -> None:
            """Of a part of the log that begins with this letter, what was not written yet."""
            nonlocal written, answered
            answered = time.monotonic()
            if start + len(log) > written:
                try:
                    write(log[max(written - start, 0) :])
                except Exception as error:
                    raise _WriteError from error
                written = start + len(log)

        while True:
            try:
                asyncio.run(self._tail(job, new))
                details = self._client.get_job_info(job)
                answered = time.monotonic()
                if details.status.is_terminal():
                    new(self._client.get_job_logs(job), 0)
                    break
            except _WriteError as error:
                raise error.__cause__ or error from None
            except AuthenticationError:
                raise refused(self._address) from None
            except _NO_ANSWER as error:
                if time.monotonic() - answered > PATIENCE_S:
                    raise ClusterError(
                        f"Cut off from the job {job} at {self._address}",
                        found=str(error)[:300],
                        remedy="run the same command again: a job that goes on is followed from its start",
                    ) from None
            time.sleep(RETRY_S)
        return _exit_code(details)

    def _of(self, stem: str) -> dict[int, JobDetails]:
        """All jobs of a stem, by number."""
        try:
            jobs = self._client.list_jobs()
        except _NO_ANSWER as error:
            raise self._not_taken(error) from None
        found = ((re.fullmatch(rf"{re.escape(stem)}-(\d+)", job.submission_id or ""), job) for job in jobs)
        return {int(match[1]): job for match, job in found if match}

    def _not_taken(self, error: Exception) -> ClusterError:
        return ClusterError(
            f"The cluster at {self._address} answers, but takes no job",
            found=str(error).strip()[-300:],
            remedy="try again; if it stays so, look at the logs of the cluster's head (dashboard.log)",
        )

    async def _tail(self, job: str, new: Callable[[str, int], None]) -> None:
        """The log from its start until the job ends, or nothing comes for a while."""
        start, parts = 0, self._client.tail_job_logs(job)
        while True:
            try:
                part = await asyncio.wait_for(anext(parts), QUIET_S)
            except (StopAsyncIteration, TimeoutError):
                return
            new(part, start)
            start += len(part)


class _WriteError(Exception):
    """An error of whoever is given the log: none of the cluster's, which would be waited for."""


class _Client(JobSubmissionClient):
    def _do_request(self, *what: Any, **how: Any) -> Any:
        """Ray's own waits for ever."""
        return super()._do_request(*what, **{"timeout": ANSWER_S} | how)


def _exit_code(job: JobDetails) -> int:
    if job.status == JobStatus.STOPPED:
        return STOPPED
    if job.driver_exit_code == NOT_FOUND:
        raise ConfigError(
            f"The cluster's head does not know the command {job.entrypoint.split()[0]}",
            found=f"exit code {NOT_FOUND} of {job.entrypoint}",
            remedy="install the same version of phreg on all nodes of the cluster (infra/Dockerfile)",
        )
    if job.driver_exit_code is None and job.status == JobStatus.FAILED:
        raise ClusterError("The job could not be run", found=(job.message or "")[-1000:])
    code = job.driver_exit_code or 0
    return code if code >= 0 else 128 - code  # a signal's, as shells give it


def _unreachable(address: str, found: str) -> ConfigError:
    return ConfigError(
        f"No Ray cluster takes jobs at {address}",
        expected="the dashboard of a running cluster's head, as http://HOST:8265",
        found=found,
        remedy="check --address; from outside the cluster's network forward that port, for instance with "
        "`kubectl port-forward` or `ssh -L`",
    )
