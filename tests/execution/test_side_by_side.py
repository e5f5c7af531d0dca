"""Work that waits in threads: how many at once, what becomes of errors, and that none outlives the call."""

import threading
import time
from collections.abc import Callable

import pytest

from phreg.execution.side_by_side import Stopped, side_by_side
from phreg.stopping import check_stop, stopped_by

PATIENCE_S = 30.0


class Crowd:
    """Pieces of work, each of which waits until it is let go; who is at work, and the most there were."""

    def __init__(self) -> None:
        self._lock, self.at_work, self.most, self.begun = threading.Lock(), set[int](), 0, list[int]()
        self.stopped: set[int] = set()
        self._ends: dict[int, threading.Event] = {}

    def work(self, number: int, result: int | Exception) -> Callable[[], int]:
        self._ends[number] = threading.Event()

        def work() -> int:
            with self._lock:
                self.at_work.add(number)
                self.begun.append(number)
                self.most = max(self.most, len(self.at_work))
            try:
                while not self._ends[number].wait(0.01):
                    check_stop()
            except Stopped:
                self.stopped.add(number)
                raise
            finally:
                self.at_work.discard(number)
            if isinstance(result, Exception):
                raise result
            return result

        return work

    def let_go(self, *numbers: int) -> None:
        for number in numbers:
            self._ends[number].set()


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def conducted(conduct: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=conduct)
    thread.start()
    return thread


def test_as_many_as_there_is_room_for_and_no_error_stops_the_others() -> None:
    crowd, room, failure = Crowd(), [2], ValueError("wrong")
    works = [crowd.work(number, failure if number == 1 else number) for number in range(5)]

    def conduct() -> None:
        until(lambda: crowd.at_work == {0, 1})
        crowd.let_go(1)  # it fails; the next takes its place
        until(lambda: crowd.at_work == {0, 2})
        room[0] = 3  # a node joins
        until(lambda: crowd.at_work == {0, 2, 3})
        crowd.let_go(0, 2, 3, 4)

    conductor = conducted(conduct)
    assert side_by_side(works, lambda: room[0]) == [0, failure, 2, 3, 4]
    conductor.join()
    assert crowd.most == 3


def test_what_fails_while_others_hold_all_the_room_is_tried_again() -> None:
    """Nodes have left: it waited for room in vain."""
    crowd, room, errors = Crowd(), [2], [TimeoutError("no room")]
    patient, waiting = crowd.work(0, 0), crowd.work(1, 1)

    def impatient() -> int:
        if errors:
            until(lambda: 0 in crowd.at_work)
            room[0] = 1
            raise errors.pop()
        return waiting()

    def conduct() -> None:
        until(lambda: not errors)
        crowd.let_go(0, 1)

    conductor = conducted(conduct)
    assert side_by_side([patient, impatient], lambda: room[0]) == [0, 1]
    conductor.join()
    assert (crowd.most, crowd.begun) == (1, [0, 1])


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_what_interrupts_the_caller_ends_all_of_them_first(interrupt: type[BaseException]) -> None:
    crowd = Crowd()

    def check() -> None:
        if len(crowd.at_work) == 2:
            raise interrupt

    with pytest.raises(interrupt), stopped_by(check):
        side_by_side([crowd.work(number, number) for number in range(3)], lambda: 2)
    assert (crowd.at_work, crowd.stopped) == (set(), {0, 1})
    assert crowd.begun == [0, 1] or crowd.begun == [1, 0]


def test_a_single_one_is_done_by_the_caller() -> None:
    assert side_by_side([threading.current_thread], lambda: 8) == [threading.main_thread()]
