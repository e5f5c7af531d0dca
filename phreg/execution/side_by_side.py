"""Several pieces of work that each wait for a cluster, side by side: as many at once as it has room for.

Each waits in a thread. None outlives the call: Ray ends a process in which a thread still calls it when the
connection is shut.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextvars import copy_context
from typing import TypeVar

from phreg.stopping import check_stop, stopped_by

Result = TypeVar("Result")
POLL_S = 0.25
ENDING_S = 60.0  # for all that is stopped to give back what it holds


class Stopped(BaseException):
    """Out of the waiting of work that is stopped. No `Exception`: stages survive those."""


def side_by_side(
    works: Sequence[Callable[[], Result]], places: Callable[[], int]
) -> list[Result | Exception]:
    """What each came to, in order: its result or its error. No error keeps the others from being done.

    `places()` is asked again and again: how many there is room for now; one at least is always at work. What
    fails while others hold all the room there is (nodes have left) is tried again once there is some. What
    interrupts the caller (Ctrl-C, a cancelled run) is raised once all have ended: they hear of it by
    `check_stop`. A single piece of work is done in the calling thread.
    """
    if len(works) == 1:
        return one_by_one(works)
    waiting, running = deque(range(len(works))), dict[Future[Result], int]()
    outcomes: dict[int, Result | Exception] = {}
    threads, stop = [], threading.Event()
    try:
        while waiting or running:
            check_stop()
            while waiting and len(running) < max(places(), 1):
                number = waiting.popleft()
                future, thread = _started(works[number], stop)
                running[future] = number
                threads.append(thread)
            for future in wait(running, POLL_S, FIRST_COMPLETED).done:
                number = running.pop(future)
                outcome = _outcome(future)
                if isinstance(outcome, Exception) and running and len(running) >= places():
                    waiting.append(number)
                else:
                    outcomes[number] = outcome
    finally:
        stop.set()
        end = time.monotonic() + ENDING_S
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0))
    return [outcomes[number] for number in range(len(works))]


def one_by_one(works: Sequence[Callable[[], Result]]) -> list[Result | Exception]:
    """The same, one after the other, in the calling thread."""
    return [_attempt(work) for work in works]


def _attempt(work: Callable[[], Result]) -> Result | Exception:
    try:
        return work()
    except Exception as error:
        return error


def _started(work: Callable[[], Result], stop: threading.Event) -> tuple[Future[Result], threading.Thread]:
    future: Future[Result] = Future()
    context = copy_context()  # progress is told, and the flow is known, as to the caller

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def run() -> None:
        try:
            with stopped_by(check):
                future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=context.run, args=(run,), daemon=True, name="phreg-side-by-side")
    thread.start()
    return future, thread


def _outcome(future: Future[Result]) -> Result | Exception:
    """Raises what is no `Exception`: that ends all."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error
