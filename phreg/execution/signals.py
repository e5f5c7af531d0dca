"""SIGTERM while Ray is connected."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def through_ray() -> Iterator["Sigterm | None"]:
    """Let what the process's own handler of SIGTERM raises come out of a `with` block that calls Ray.

    Ray's compiled code passes on `KeyboardInterrupt` only. Any other exception out of a handler, such as
    Prefect's when a run is cancelled, turns into a SystemError there, and not before what was waited for is
    done. So it travels as a `KeyboardInterrupt`, and is raised as itself where the block ends. Further
    signals then change nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    sigterm = Sigterm()
    sigterm.take()
    try:
        yield sigterm
    except KeyboardInterrupt:
        if sigterm.raised is not None:
            raise sigterm.raised from None
        raise
    finally:
        sigterm.give_back()


class Sigterm:
    """The process's own handler of SIGTERM, behind one that Ray can bear."""

    def __init__(self) -> None:
        self._own: Any = signal.getsignal(signal.SIGTERM)
        self._asked = False
        self.raised: BaseException | None = None

    def take(self) -> None:
        """Also after `ray.init`, which puts one in place that prints a stack and exits."""
        if self._own is not None:  # otherwise it is not Python's
            signal.signal(signal.SIGTERM, self._receive if callable(self._own) else self._own)

    def give_back(self) -> None:
        if self._own is not None:
            signal.signal(signal.SIGTERM, self._own)

    def _receive(self, signum: int, frame: object) -> None:
        if self._asked:
            return
        self._asked = True
        try:
            self._own(signum, frame)
        except BaseException as error:
            self.raised = error
            raise KeyboardInterrupt from error
        self._asked = False  # it may only have taken note
