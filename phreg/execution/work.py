"""The items of a pool: which wait, how often each was tried, which were given up. Knows nothing of Ray."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Failure(Generic[Item]):
    """An item that was given up, with the error of its last attempt."""

    item: Item
    error: Exception
    attempts: int


class Work(Generic[Item]):
    """A queue of items, by index, each tried `max_attempts` times at most.

    When a worker dies with one item in its hands, that item has used up an attempt. With several, the
    guilty one cannot be told: none is charged, and all must henceforth run alone.
    """

    def __init__(self, items: Sequence[Item], max_attempts: int) -> None:
        self.items = items
        self.failures: list[Failure[Item]] = []
        self.unfinished = len(items)
        self._max_attempts = max_attempts
        self._waiting = deque(range(len(items)))
        self._attempts: Counter[int] = Counter()
        self._alone: set[int] = set()

    def next(self, company: Sequence[int] = ()) -> int | None:
        """The next item for a worker that has `company` in its hands; None if it should get none now."""
        if not self._waiting or any(index in self._alone for index in company):
            return None
        if company and self._waiting[0] in self._alone:
            return None
        return self._waiting.popleft()

    def done(self) -> None:
        self.unfinished -= 1

    def failed(self, index: int, error: Exception, final: bool) -> None:
        """An attempt ended in an error: another one, after all that waits, or the end of it."""
        self._attempts[index] += 1
        if final or self._attempts[index] >= self._max_attempts:
            self.unfinished -= 1
            self.failures.append(Failure(self.items[index], error, self._attempts[index]))
        else:
            self._waiting.append(index)

    def lost(self, held: Sequence[int], error: Exception) -> None:
        """A worker died with these items in its hands."""
        if len(held) == 1:
            self._alone.update(held)
            self.failed(held[0], error, final=False)
        else:
            self.given_back(held)

    def given_back(self, held: Sequence[int]) -> None:
        """A worker was sent away with these items in its hands: no attempt of theirs."""
        self._alone.update(held)
        self._waiting.extend(held)
