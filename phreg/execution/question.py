"""Asking an actor now and then without ever waiting for its answer: it may hang, or be gone."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError


class Question:
    """`ask` gives a reference to the answer. One question is under way at a time, `every_s` apart."""

    def __init__(
        self,
        ask: Callable[[], Any],
        every_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._every_s, self._clock = ask, every_s, clock
        self._asked: Any = None
        self._answer: Any = None
        self._due = clock()

    def answer(self) -> Any:
        """The last answer that has come, None before the first; asks anew if it is time."""
        if self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
            asked, self._asked = self._asked, None
            with suppress(RayError):  # it is gone, or its node: others hear of that by its work
                self._answer = ray.get(asked)
        now = self._clock()
        if self._asked is None and now >= self._due:
            self._asked, self._due = self._ask(), now + self._every_s
        return self._answer
