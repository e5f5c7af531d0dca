"""Does an actor get on with its work? Ray notices processes that end, not those that hang or are stopped."""

import time
from collections.abc import Callable
from typing import Any

from phreg.execution.question import Question

_EVERY_S = 2.0  # between two questions


class StallDetector:
    """Asks an actor now and then, never waiting for it: `actor.progress()`, whatever it says, must change
    while it works, and come back beside its work."""

    def __init__(self, actor: Any, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s, self._clock = timeout_s, clock
        every_s = min(_EVERY_S, timeout_s / 4)
        self._question = Question(lambda: actor.progress.remote(), every_s, clock)
        self._moved = clock()
        self.said: Any = None

    def stalled(self, busy: bool) -> bool:
        """Whether the actor has made no progress for `timeout_s`, though it was busy at every look."""
        before, self.said = self.said, self._question.answer()
        if not busy or self.said != before:
            self._moved = self._clock()
        return self._clock() - self._moved > self._timeout_s
