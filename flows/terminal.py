"""Flows run from a terminal: short errors, and signals that are the command line's own affair."""

import contextlib
import logging

from prefect import flow_engine

from flows.server import ensure_server
from phreg.errors import PhregError


def prepare_terminal() -> None:
    """Call before the first flow of a process that a user started by hand. Errors as `ensure_server`."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_short_errors)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # Prefect's events find a new server
    # Prefect's engine would take SIGTERM over, and let a second one break into the cleaning up.
    flow_engine.capture_sigterm = contextlib.nullcontext  # type: ignore[assignment]
    ensure_server()


def _short_errors(record: logging.LogRecord) -> bool:
    """Logs a `PhregError` by its message alone; any other error keeps its traceback."""
    if record.exc_info and isinstance(record.exc_info[1], PhregError):
        record.exc_info = None
        record.exc_text = None
    return True
