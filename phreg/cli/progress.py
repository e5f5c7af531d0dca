"""Progress of commands: a bar where there is a terminal, else a line now and then, both beside the output."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from phreg.cli.tables import warn
from phreg.progress import tell
from phreg.progress_reporter import ProgressReporter


@contextmanager
def showing(name: str, doing: str = "starting") -> Iterator[None]:
    """Shows what is told of progress inside, under the name of the command or stage. Print nothing inside."""
    with ExitStack() as around:
        bar, say = None, _say
        if sys.stderr.isatty():
            from rich.console import Console

            from phreg.live_bars import LiveBars, is_terminal

            if is_terminal():
                bar = around.enter_context(around.enter_context(LiveBars(Console(stderr=True))).bar(name))
                say = _say_nothing
        around.enter_context(ProgressReporter(lambda line: say(f"{name}: {line}"), show=bar))
        tell(doing)
        yield


def _say(line: str) -> None:
    with suppress(OSError):  # nobody reads it
        warn(line)


def _say_nothing(line: str) -> None:
    """The bar shows it."""
