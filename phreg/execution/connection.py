"""One connection to Ray for a whole run, made when something first needs it: if all is done, nothing does.

Imports nothing of Ray: that alone takes a second.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import RLock

from phreg.errors import PhregError, is_permanent_error


class Connection:
    """Not made until `open`. `error`: why it could not be made, the last time it was tried."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.error: PhregError | None = None
        self.is_open = False
        self._check, self._lock, self._until_the_end = check, RLock(), ExitStack()

    def open(self, connected: Callable[[], AbstractContextManager[None]]) -> None:
        """Connect, and check, once. What is permanent is raised again instead of tried again."""
        with self._lock:
            if self.is_open:
                return
            if self.error is not None and is_permanent_error(self.error):
                raise self.error
            self.error = None
            try:
                with ExitStack() as attempt:
                    attempt.enter_context(connected())
                    self.is_open = True  # what checks may `connect`, too
                    self._check()
                    self._until_the_end = attempt.pop_all()
            except BaseException as error:
                self.is_open = False
                self.error = error if isinstance(error, PhregError) else None
                raise

    def close(self) -> None:
        self.is_open = False
        self._until_the_end.close()


_kept: Connection | None = None


def kept() -> Connection | None:
    """The connection that `connected_when_needed` keeps, made or not."""
    return _kept


@contextmanager
def connected_when_needed(check: Callable[[], None] = lambda: None) -> Iterator[Connection]:
    """For a `with` block of a process: the first `connect` inside connects until the block's end.

    `check` is called once connected; what it raises means that no connection can be had.
    """
    global _kept
    outer, _kept = _kept, Connection(check)
    try:
        yield _kept
    finally:
        connection, _kept = _kept, outer
        connection.close()
