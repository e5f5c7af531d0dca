"""Errors in the logs of flows and tasks, in the shell and in Prefect's UI alike."""

import logging

from phreg.errors import PhregError


def shorten_errors() -> None:
    """From now on a `PhregError` is logged by its message alone; any other error keeps its traceback."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], PhregError):
        record.exc_info = None
        record.exc_text = None
    return True
