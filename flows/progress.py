"""Progress in the flow's log, and so in the terminal and in Prefect's UI."""

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar, cast

from prefect import get_run_logger
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.runtime import flow_run, task_run

from flows.artifacts import artifact_key
from flows.progress_artifact import progress_artifact
from phreg.live_bars import LiveBars, is_terminal
from phreg.progress_reporter import ProgressReporter, Show
from phreg.stopping import check_stop

F = TypeVar("F", bound=Callable[..., Any])
_PROGRESS = "phreg_progress"  # marks the lines that bars stand for
_bars: LiveBars | None = None  # of this process's terminal, while a flow runs in it


@contextmanager
def live_bars() -> Iterator[None]:
    """For a flow that a user started by hand: in a terminal, bars take the place of the lines of progress.

    Prefect's own log goes on above them; its server gets all lines all the same.
    """
    global _bars
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, PrefectConsoleHandler)]
    if not handlers or not is_terminal():
        yield
        return
    for handler in handlers:
        handler.addFilter(_is_no_progress)
        handler.console = handlers[0].console
    with LiveBars(handlers[0].console) as _bars:
        try:
            yield
        finally:
            _bars = None
            for handler in handlers:
                handler.removeFilter(_is_no_progress)


@contextmanager
def reporting(name: str = "", eager: bool = False, artifact: str = "") -> Iterator[None]:
    """Logs what is told of progress inside a `with` block of a flow or a task; `name` begins each line.

    `artifact`: the name of one that shows it, too.
    """
    check_stop()  # every stage begins here
    logger, start = get_run_logger(), f"{name}: " if name else ""

    def say(line: str) -> None:
        logger.info("%s%s", start, line, extra={_PROGRESS: True})

    with ExitStack() as around:
        title = name or task_run.name or flow_run.name or ""
        shows: list[Show] = []
        if artifact:
            shows.append(around.enter_context(progress_artifact(artifact_key(artifact))))
        if _bars is not None:
            shows.append(around.enter_context(_bars.bar(title)))

        def show(*news: Any) -> None:
            for each in shows:
                each(*news)

        around.enter_context(ProgressReporter(say, eager, show=show))
        yield


def _is_no_progress(record: logging.LogRecord) -> bool:
    return not getattr(record, _PROGRESS, False)


def reported(stage: F) -> F:
    """A stage whose progress is logged."""

    @functools.wraps(stage)
    def work(*arguments: Any, **named: Any) -> Any:
        with reporting():
            return stage(*arguments, **named)

    return cast(F, work)
