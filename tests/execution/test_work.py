"""The queue of a pool, whatever its workers do."""

import itertools
import random

import pytest

from phreg.execution.backoff import backoff
from phreg.execution.work import Work


@pytest.mark.parametrize("seed", range(20))
def test_every_item_is_done_or_given_up_exactly_once(seed: int) -> None:
    rng = random.Random(seed)
    poison = {3, 7}
    clock = itertools.count()  # a second a look
    work = Work(list(range(12)), max_attempts=3, clock=lambda: float(next(clock)))
    hands: list[list[int]] = [[], [], []]
    done: list[int] = []
    for _ in range(10_000):
        if not work.unfinished:
            break
        held = rng.choice(hands)
        index = work.next(held) if len(held) < 2 else None
        if index is not None:
            held.append(index)
        elif poison & set(held):
            work.lost(list(held), RuntimeError("killed"))
            held.clear()
        elif held:
            if rng.random() < 0.1:
                work.given_back(list(held))
                held.clear()
            else:
                done.append(held.pop(rng.randrange(len(held))))
                work.done()
    assert sorted(done) == sorted(set(range(12)) - poison)  # the innocent are never given up
    assert sorted(failure.item for failure in work.failures) == sorted(poison)
    assert all(failure.attempts == 3 for failure in work.failures)


def test_items_that_were_lost_together_then_run_alone() -> None:
    work = Work(["a", "b", "c"], max_attempts=1)
    first, second = work.next(), work.next([0])
    assert (first, second) == (0, 1)
    work.lost([0, 1], RuntimeError())
    assert not work.failures
    third = work.next()
    assert third == 2
    assert work.next([2]) is None
    alone = work.next()
    assert alone == 0
    assert work.next([0]) is None


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def work_at(clock: Clock, items: str, max_attempts: int = 9) -> Work[str]:
    return Work(items, max_attempts, clock=clock, jitter=lambda: 0.0)


def test_a_failed_item_waits_longer_each_time_and_comes_after_all_that_wait() -> None:
    clock = Clock()
    work = work_at(clock, "abc")
    assert work.next() == 0
    for wait in (1, 2, 4, 8):
        work.failed(0, RuntimeError(), final=False)
        work.done()  # another item's attempt succeeds: the fault is not everybody's
        clock.now += wait - 0.01
        assert work.next() in (1, 2, None)
        assert work.next() in (1, 2, None)
        assert work.next() is None
        clock.now += 0.01
        assert work.next() == 0


def test_a_dead_worker_s_item_waits_too_but_stops_nobody() -> None:
    clock = Clock()
    work = work_at(clock, "ab")
    work.lost([work.next() or 0], RuntimeError())
    assert work.next() == 1
    assert work.next() is None
    clock.now = 1.0
    assert work.next() == 0


def test_failures_in_a_row_of_whatever_items_stop_all_for_a_while() -> None:
    """Ten minutes without storage: of a hundred items none uses up three attempts."""
    clock = Clock()
    work = work_at(clock, "x" * 100, max_attempts=3)
    tried = 0
    while clock.now < 600:
        index = work.next()
        if index is None:
            clock.now += 0.25
            continue
        tried += 1
        work.failed(index, RuntimeError(), final=False)
    assert tried < 20
    assert not work.failures
    while (index := work.next()) is None:
        clock.now += 0.25
    work.done()
    assert sum(work.next() is not None for _ in range(99)) == 99 - len(work._later)  # at once again


def test_waits_grow_to_a_minute_and_differ() -> None:
    assert [backoff(n, 0.0) for n in (0, 1, 2, 3, 7, 1000)] == [0, 1, 2, 4, 60, 60]
    assert backoff(3, 1.0) == 6
    times = {Work("a", 2)._jitter() for _ in range(10)}
    assert len(times) == 10


def test_a_final_error_is_not_tried_again() -> None:
    work = Work(["a"], max_attempts=5)
    error = ValueError("no")
    work.failed(work.next() or 0, error, final=True)
    assert work.next() is None
    assert work.unfinished == 0
    assert work.failures[0].error is error
    assert work.failures[0].attempts == 1
