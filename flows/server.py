"""Prefect's API for a flow that a user started by hand: the server they named, or a temporary one.

Prefect would start its temporary server by itself, but only when first asked, in whatever thread, in the
terminal's process group, on a port that another run may take meanwhile, it would outlive a killed run, and
this process would import all of the server, which takes three seconds of CPU.
"""

import atexit
import functools
import os
import random
import re
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

import httpx
import prefect
from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
)

from flows import parent_death
from flows.home import check_can_be_written
from phreg.errors import ConfigError, PhregError
from phreg.execution.backoff import backoff
from phreg.progress import tell

POLL_S = 0.1
ANSWER_S = 5.0  # for a health check; a machine under load may take as long
SETTLED_S = 60.0  # a server that ran so long has started well
STOP_S = 5.0
_RACE = re.compile(r"already exists|is locked|UNIQUE|duplicate column|no such (table|column)", re.IGNORECASE)
_EXCEPTION = re.compile(r"(\w+\.)*\w*(Error|Exception|Exit)\b")
_TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


def begin_server() -> None:
    """Start a temporary server, if there will be one, without waiting for it: imports take as long.

    Raises `ConfigError` if it can keep no database."""
    if not PREFECT_API_URL.value() and PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        _temporary().begin()


def ensure_server() -> None:
    """See to a Prefect API, once a process. Raises `ConfigError` if the one named does not answer, and
    `PhregError` if a temporary one does not start in time."""
    if named_server():
        return
    if PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        server = _temporary()
        server.start()
        # All of Prefect reads this, in every thread. Its pages are not served: they are not to be pointed to.
        os.environ |= {"PREFECT_API_URL": server.url, "PREFECT_UI_URL": ""}
        refresh_global_settings_context()
    else:
        raise ConfigError(
            "No Prefect API is named, and a temporary one is not allowed",
            expected="PREFECT_API_URL, or PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=true",
            remedy="see `prefect config view` for the profile in use",
        )


def named_server() -> str | None:
    """The URL of the API that is named, if one is. Raises `ConfigError` unless it answers."""
    url = PREFECT_API_URL.value()
    if url:
        tell("asking Prefect's server")
        _check_named(url)
    return url


def _check_named(url: str) -> None:
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": 4 * ANSWER_S}) as client:
            error = client.api_healthcheck()
    except (ImportError, ValueError, httpx.InvalidURL) as unusable:
        raise ConfigError(
            "No connection to Prefect's API can be made as the environment says",
            expected="proxies at http://, https:// or socks5:// (the last with the package socksio)",
            found=f"{type(unusable).__name__}: {unusable}",
            remedy="correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY or PREFECT_API_URL",
        ) from None
    if error is not None:
        raise ConfigError(
            f"Prefect's API at {url} does not answer",
            expected="a running Prefect server",
            found=f"{type(error).__name__}: {error}",
            remedy="start it, or leave PREFECT_API_URL unset for a temporary one (`prefect config view`)",
        )


class TemporaryServer:
    """A process of uvicorn.

    This process holds the socket on which it listens, and passes it on: no other run can get the port, and if
    the server is killed, requests wait for the next.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None  # while it is to be there
        self._log: IO[bytes] | None = None  # until it answers
        self._environment: dict[str, str] = {}
        self.url = ""

    def begin(self) -> None:
        """Start it; `start` waits until it answers."""
        if self._listener is not None:
            return
        check_can_be_written(PREFECT_HOME.value())
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"
        atexit.register(self.stop)
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        self._environment = os.environ | _TEMPORARY | settings
        self._log = tempfile.TemporaryFile(dir=PREFECT_HOME.value())  # noqa: SIM115 (`start` closes it)
        self._process = self._launch(self._listener, self._log)

    def start(self, timeout: int | None = None) -> None:
        self.begin()
        if self._log is None or self._listener is None:
            return
        tell("starting Prefect's temporary server")
        limit = timeout or PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        try:
            with self._log as log:
                self._wait(self._listener, limit, log)
        except BaseException:
            self.stop()
            raise
        finally:
            self._log = None
        threading.Thread(target=self._keep, args=(self._listener,), daemon=True).start()

    def _wait(self, listener: socket.socket, limit: float, log: IO[bytes]) -> None:
        deadline, failures = time.monotonic() + limit, list[str]()
        server = self._process
        assert server is not None, "begun"
        while not self._answers():
            if time.monotonic() > deadline:
                raise _slow(limit, failures)
            if server.poll() is not None:
                # It may end by itself: two that start at once set up their common database at once.
                said = _last_error(log)
                if server.returncode > 0 and said in failures and not _RACE.search(said):
                    raise _broken(said)
                failures.append(said)
                self._process = server = self._launch(listener, log)
            time.sleep(POLL_S)

    def stop(self) -> None:
        self._listener = None
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _keep(self, listener: socket.socket) -> None:
        """Start it again whenever it is gone: a run needs it to report its end."""
        ends = 0
        while True:
            began = time.monotonic()
            if self._process is not None:
                self._process.wait()
            if self._listener is None:
                return
            ends = 0 if time.monotonic() - began > SETTLED_S else ends + 1
            time.sleep(max(POLL_S, backoff(ends - 1, random.random())))  # noqa: S311 (no secret)
            self._process = self._launch(listener, subprocess.DEVNULL)

    def _launch(self, listener: socket.socket, log: IO[bytes] | int) -> subprocess.Popen[bytes]:
        arguments = ["uvicorn", "--app-dir", str(Path(prefect.__file__).parent), "--factory"]
        arguments += ["prefect.server.api.server:create_app", "--fd", str(listener.fileno())]
        arguments += ["--log-level", "error", "--lifespan", "on"]
        return parent_death.start(
            arguments,
            self._environment,
            pass_fds=(listener.fileno(),),
            stdout=log,
            stderr=log,
        )

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=ANSWER_S, trust_env=False).is_success
        except httpx.HTTPError:
            return False


@functools.cache
def _temporary() -> TemporaryServer:
    """The one of this process."""
    return TemporaryServer()


def _last_error(log: IO[bytes]) -> str:
    """Of what a server printed: the last line that is an exception's, else the last one. It is taken out."""
    log.seek(0)
    lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    log.seek(0)
    log.truncate()
    errors = [line for line in lines if _EXCEPTION.match(line)]
    return [*lines, *errors][-1].strip()[:500] if lines else ""


def _broken(said: str) -> PhregError:
    return PhregError(
        "Prefect's temporary server ends as soon as it starts",
        found=said,
        remedy=f"mend what this names; its database is in {PREFECT_HOME.value()}, and PREFECT_HOME may name "
        "another folder, or PREFECT_API_URL a running server",
    )


def _slow(seconds: float, failures: list[str]) -> PhregError:
    said = f", the last of which ended with: {failures[-1]}" if failures and failures[-1] else ""
    return PhregError(
        f"Prefect's temporary server did not start within {seconds:g} s",
        found=f"{len(failures) + 1} attempts{said}" if failures else "",
        remedy="allow more with PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, or name a running server "
        "in PREFECT_API_URL; then run the same command again",
    )
