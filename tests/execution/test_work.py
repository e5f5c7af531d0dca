"""The queue of a pool, whatever its workers do."""

import random

import pytest

from phreg.execution.work import Work


@pytest.mark.parametrize("seed", range(20))
def test_every_item_is_done_or_given_up_exactly_once(seed: int) -> None:
    rng = random.Random(seed)
    poison = {3, 7}
    work = Work(list(range(12)), max_attempts=3)
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


def test_a_retried_item_comes_after_all_that_wait() -> None:
    work = Work(list("abc"), max_attempts=2)
    work.failed(work.next() or 0, RuntimeError(), final=False)
    assert [work.next() for _ in range(4)] == [1, 2, 0, None]


def test_a_final_error_is_not_tried_again() -> None:
    work = Work(["a"], max_attempts=5)
    error = ValueError("no")
    work.failed(work.next() or 0, error, final=True)
    assert work.next() is None
    assert work.unfinished == 0
    assert work.failures[0].error is error
    assert work.failures[0].attempts == 1
