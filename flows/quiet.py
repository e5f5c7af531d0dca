"""Prefect's log without tracebacks for errors that explain themselves."""

import logging

from phreg.errors import PhregError


class _ShortErrors(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], PhregError):
            record.exc_info = None
            record.exc_text = None
        return True


def keep_errors_short() -> None:
    """Log a `PhregError` by its message alone; any other error keeps its traceback."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_ShortErrors())
