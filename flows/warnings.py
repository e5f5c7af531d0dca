"""Warnings of phreg's own modules in the log of the run that they concern, as Prefect's UI shows it."""

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

from phreg.errors import hide_credentials


def warn_in_runs() -> None:
    """From now on, in this process, beside where they go anyway. Ray's workers are other processes."""
    ours = logging.getLogger("phreg")
    if not any(isinstance(handler, _ToRun) for handler in ours.handlers):
        ours.addHandler(_ToRun(logging.WARNING))


class _ToRun(APILogHandler):
    def emit(self, record: logging.LogRecord) -> None:
        if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """What Prefect keeps has no credentials of URLs."""
        return hide_credentials(super().format(record))
