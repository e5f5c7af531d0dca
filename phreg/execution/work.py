"""The items of a pool: which wait, how often each was tried, which were given up. Knows nothing of Ray."""

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from phreg.execution.backoff import backoff

Item = TypeVar("Item")
_RNG = random.SystemRandom()


@dataclass(frozen=True)
class Failure(Generic[Item]):
    """An item that was given up, with the error of its last attempt."""

    item: Item
    error: Exception
    attempts: int


class Work(Generic[Item]):
    """A queue of items, by index, each tried `max_attempts` times at most.

    An item whose attempt failed waits before the next one, longer each time. If one attempt after the
    other fails, whatever the item, nothing is handed out for as long: a store that is away for some
    minutes should not use up the attempts of all items.

    When a worker dies with one item in flight, that item has used up an attempt. With several, the
    guilty one cannot be told: none is charged, and all must henceforth run alone.
    """

    def __init__(
        self,
        items: Sequence[Item],
        max_attempts: int,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = _RNG.random,
    ) -> None:
        self.items = items
        self.failures: list[Failure[Item]] = []
        self.unfinished = len(items)
        self._max_attempts, self._clock, self._jitter = max_attempts, clock, jitter
        self._waiting = deque(range(len(items)))
        self._later: dict[int, float] = {}  # when they may be tried again
        self._attempts: Counter[int] = Counter()
        self._alone: set[int] = set()
        self._failed_in_a_row = 0
        self._paused_until = 0.0

    def next(self, in_flight: Sequence[int] = ()) -> int | None:
        """The next item for a worker that has `in_flight` at work; None if it should get none now."""
        now = self._clock()
        for index in [index for index, due in self._later.items() if due <= now]:
            del self._later[index]
            self._waiting.append(index)
        if now < self._paused_until or not self._waiting:
            return None
        if any(index in self._alone for index in in_flight) or (
            in_flight and self._waiting[0] in self._alone
        ):
            return None
        return self._waiting.popleft()

    def done(self) -> None:
        self.unfinished -= 1
        self._failed_in_a_row, self._paused_until = 0, 0.0

    def failed(self, index: int, error: Exception, final: bool) -> None:
        """An attempt ended in an error: another one, later and after all that waits, or the end of it."""
        self._charge(index, error, final)
        if not final:  # the error may be everybody's
            self._failed_in_a_row += 1
            self._paused_until = self._clock() + backoff(self._failed_in_a_row - 1, self._jitter())

    def lost(self, held: Sequence[int], error: Exception) -> None:
        """A worker died with these items in flight."""
        if len(held) == 1:
            self._alone.update(held)
            self._charge(held[0], error)
        else:
            self.given_back(held)

    def given_back(self, held: Sequence[int]) -> None:
        """A worker was sent away with these items in flight: no attempt of theirs."""
        self._alone.update(held)
        self._waiting.extend(held)

    def _charge(self, index: int, error: Exception, final: bool = False) -> None:
        self._attempts[index] += 1
        if final or self._attempts[index] >= self._max_attempts:
            self.unfinished -= 1
            self.failures.append(Failure(self.items[index], error, self._attempts[index]))
        else:
            self._later[index] = self._clock() + backoff(self._attempts[index], self._jitter())
