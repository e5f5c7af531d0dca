"""Progress as lines for people: not too many of them, and never a long silence."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

from phreg.progress import Progress, heard_by

EVERY_S = 5.0  # between two lines with something new
REPEAT_S = 10.0  # until the last one is said again, where nothing new comes
_LOOK_S = 0.5
Show = Callable[[Progress, float | None, float | None], None]


class ProgressReporter:
    """Hears progress for a `with` block, and says it: a line every few seconds, from a thread of its own.

    So it speaks also while the block waits for something that does not. Work that is done within `EVERY_S`
    passes without a word, unless the reporter is `eager`: then it says the first of what it hears at once,
    and the last. `show` gets all of it at once, with rate and seconds left.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        eager: bool = False,
        show: Show | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._eager, self._show, self._clock = say, eager, show, clock
        self._lock = threading.Lock()
        self._heard: Progress | None = None
        self._said: Progress | None = None
        self._pace = _Pace()
        self._said_at = self._changed_at = clock()
        self._stop = threading.Event()
        self._around = ExitStack()

    def __enter__(self) -> Self:
        self._around.enter_context(heard_by(self))
        threading.Thread(target=self._keep_saying, daemon=True, name="phreg-progress").start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._around.close()

    def __call__(self, progress: Progress) -> None:
        with self._lock:
            now = self._clock()
            if progress != self._heard:
                self._heard, self._changed_at = progress, now
            self._pace.note(progress, now)
            if self._show is not None:
                self._show(progress, *self._pace.of(progress, now))
            first_or_last = self._said is None or (progress.final and progress != self._said)
            if self._eager and first_or_last:
                self._speak(now)

    def look(self) -> None:
        """Say what is due by now."""
        with self._lock:
            now = self._clock()
            wait = EVERY_S if self._heard != self._said else REPEAT_S
            if self._heard is not None and now - self._said_at >= wait:
                self._speak(now)

    def _speak(self, now: float) -> None:
        assert self._heard is not None
        line = words(self._heard, *self._pace.of(self._heard, now))
        if self._heard == self._said:
            line += f", for {clock(now - self._changed_at)}"
        self._said, self._said_at = self._heard, now
        self._say(line)

    def _keep_saying(self) -> None:
        while not self._stop.wait(_LOOK_S):
            self.look()


class _Pace:
    """The rate at which one kind of work is done, from the first that was heard of it."""

    def __init__(self) -> None:
        self._kind: tuple[str, str] | None = None
        self._start, self._first = 0.0, 0

    def note(self, progress: Progress, now: float) -> None:
        kind = progress.what, progress.things
        if kind != self._kind or progress.done < self._first:
            self._kind, self._start, self._first = kind, now, progress.done

    def of(self, progress: Progress, now: float) -> tuple[float | None, float | None]:
        """Rate and seconds that are left, where they can be told."""
        done, seconds = progress.done - self._first, now - self._start
        rate = progress.rate if progress.rate is not None else done / seconds if done and seconds else None
        if progress.remaining is not None or not rate:
            return rate, progress.remaining
        return rate, max(progress.total - progress.done, 0) / rate


def words(progress: Progress, rate: float | None = None, remaining: float | None = None) -> str:
    """One line, such as "measuring 12 of 64 images, 3.1 images/s, 0:17 left"."""
    about = "about " if progress.estimated else ""
    count = f"{progress.done}/{progress.total}"
    if progress.things:
        count = f"{progress.done} of {about}{progress.total} {progress.things}"
    parts = [progress.head, f"{progress.what} {count}".strip() if progress.total else progress.what]
    if progress.things and progress.total and rate:
        parts.append(f"{rate:.{1 if rate >= 0.1 else 3}f} {progress.things}/s")
    parts.append(progress.note)
    if remaining is not None and progress.total and not progress.final:
        parts.append(f"{clock(remaining)} left")
    return ", ".join(part for part in parts if part)


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
