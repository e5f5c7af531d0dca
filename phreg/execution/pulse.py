"""Does an actor get on with its work? Ray notices processes that end, not those that hang or are stopped."""

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError

_EVERY_S = 30.0  # between two questions


class Pulse:
    """Asks an actor now and then, never waiting for it: `actor.progress()`, whatever it says, must change
    while it works, and come back beside its work."""

    def __init__(self, actor: Any, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._actor, self._timeout_s, self._clock = actor, timeout_s, clock
        self._every_s = min(_EVERY_S, timeout_s / 4)
        self._asked: Any = None
        self._said: Any = None
        self._due = self._moved = clock()

    def stopped(self, busy: bool) -> bool:
        """Whether the actor has made no progress for `timeout_s`, though it was busy at every look."""
        now = self._clock()
        if not busy or self._has_news():
            self._moved = now
        if self._asked is None and now >= self._due:
            self._asked, self._due = self._actor.progress.remote(), now + self._every_s
        return now - self._moved > self._timeout_s

    def _has_news(self) -> bool:
        if self._asked is None or not ray.wait([self._asked], timeout=0)[0]:
            return False
        before, asked, self._asked = self._said, self._asked, None
        try:
            self._said = ray.get(asked)
        except RayError:  # it died: the pool hears of it by the work
            return False
        return bool(self._said != before)
