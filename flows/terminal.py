"""Flows run from a terminal: short errors, and a Ctrl-C that reaches the run alone."""

import functools
import logging
import subprocess
from typing import Any
from unittest import mock

from prefect.server.api.server import SubprocessASGIServer

from phreg.errors import PhregError


def prepare_terminal() -> None:
    """Call once before the first flow of a process that a user started by hand."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_ShortErrors())
    _start_server_apart()


class _ShortErrors(logging.Filter):
    """Logs a `PhregError` by its message alone; any other error keeps its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], PhregError):
            record.exc_info = None
            record.exc_text = None
        return True


def _start_server_apart() -> None:
    """Give Prefect's temporary server a session of its own.

    A terminal sends Ctrl-C to the whole process group. The server would end at once, and the run, which
    reports its own end to it, would wait for an answer for ever.
    """
    start = SubprocessASGIServer._run_uvicorn_command
    apart = functools.partial(subprocess.Popen, start_new_session=True)

    @functools.wraps(start)
    def start_apart(server: SubprocessASGIServer) -> subprocess.Popen[Any]:
        with mock.patch.object(subprocess, "Popen", apart):
            return start(server)

    SubprocessASGIServer._run_uvicorn_command = start_apart  # type: ignore[assignment, method-assign]
