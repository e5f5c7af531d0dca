"""Work that may be told to stop from outside: who waits asks now and then, who may stop it raises."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None] | None] = ContextVar("phreg_stopping", default=None)


def check_stop() -> None:
    """Call in loops that wait, and between steps. Raises what `stopped_by` was given to raise; cheap."""
    check = _check.get()
    if check is not None:
        check()


@contextmanager
def stopped_by(check: Callable[[], None]) -> Iterator[None]:
    """For a `with` block in this thread: `check` is asked, and raises once the work is to end.

    It must answer at once, and what it raises be no `Exception`: stages survive those.
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)
