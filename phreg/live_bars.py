"""Progress in a terminal: a bar for each stage at work, below what is printed meanwhile."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from phreg.progress import Progress
from phreg.progress_reporter import clock, words

PER_SECOND = 4  # times that the bars are drawn anew
FULL, EMPTY = "━", "─"


def is_terminal() -> bool:
    """Whether bars can be drawn where errors go."""
    return sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal


class Bar:
    """One stage: its name, how much of it is done, since when; and below, what it says."""

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._name, self._now, self._start = name, now, now()
        self._progress: Progress | None = None
        self._words = ""

    def __call__(self, progress: Progress, rate: float | None, remaining: float | None) -> None:
        self._progress, self._words = progress, words(progress, rate, remaining)

    def lines(self, width: int) -> list[Text]:
        """At most `width` wide but for the words, which are broken over as many lines as they need."""
        progress, elapsed = self._progress, clock(self._now() - self._start)
        if progress is None or not progress.total:
            return [Text(f"{self._name}  {elapsed}"), Text(f"  {self._words}")]
        share = min(progress.done / progress.total, 1.0)
        end = f" {share:4.0%} {elapsed}"
        room = max(width - len(self._name) - 1 - len(end), 4)
        full = int(share * room)
        drawn = Text.assemble(f"{self._name} ", (FULL * full, "green"), (EMPTY * (room - full), "dim"), end)
        return [drawn, Text(f"  {self._words}")]


class LiveBars:
    """The bars of one terminal, for a `with` block. What is to be seen besides must be printed on `console`
    or on `sys.stderr`."""

    def __init__(self, console: Console) -> None:
        self._console, self._bars = console, list[Bar]()
        self._live = Live(
            console=console,
            get_renderable=self._drawn,
            refresh_per_second=PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._live.stop()

    @contextmanager
    def bar(self, name: str) -> Iterator[Bar]:
        bar = Bar(name)
        self._bars.append(bar)
        try:
            yield bar
        finally:
            self._bars.remove(bar)

    def _drawn(self) -> RenderableType:
        return Group(*(line for bar in list(self._bars) for line in bar.lines(self._console.width - 1)))
