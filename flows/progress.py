"""Progress in the flow's log, and so in the terminal and in Prefect's UI."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from prefect import get_run_logger

from phreg.progress_reporter import ProgressReporter

F = TypeVar("F", bound=Callable[..., Any])


def reporting(name: str = "", eager: bool = False) -> ProgressReporter:
    """Logs what is told of progress inside a `with` block of a flow or a task; `name` begins each line."""
    logger = get_run_logger()
    start = f"{name}: " if name else ""
    return ProgressReporter(lambda line: logger.info("%s%s", start, line), eager)


def reported(stage: F) -> F:
    """A stage whose progress is logged."""

    @functools.wraps(stage)
    def work(*arguments: Any, **named: Any) -> Any:
        with reporting():
            return stage(*arguments, **named)

    return cast(F, work)
