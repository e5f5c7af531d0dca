"""Ctrl-C, SIGTERM and a closed terminal: all of them once, and the same.

The first raises `KeyboardInterrupt` in the main thread, wherever it is. From then on the run is cleaning up:
more of them change nothing, as each could break into the removal of what the run has started. A clean-up
that takes too long is ended.
"""

import atexit
import os
import signal
import sys
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CLEAN_UP_S = 90.0
INTERRUPTED = 130


def take_signals() -> None:
    """Call once, in the main thread. A signal that is ignored stays so (`nohup`), but for SIGINT, which
    a shell's background job has ignored from the start."""
    state = _State()
    atexit.register(state.leave)  # first, so that it comes last
    for kind in SIGNALS:
        if kind is signal.SIGINT or signal.getsignal(kind) is not signal.SIG_IGN:
            signal.signal(kind, state.receive)


class _State:
    def __init__(self) -> None:
        self._stopping = self._said = False

    def receive(self, signum: int, frame: object) -> None:
        if signum != signal.SIGINT:
            signal.raise_signal(signal.SIGINT)  # which Ray's compiled code knows how to end on
        elif self._stopping:
            if not self._said:
                _say("stopping already; what is committed is kept")
            self._said = True
        else:
            self._stopping = True
            last = threading.Timer(CLEAN_UP_S, _give_up)
            last.daemon = True
            last.start()
            raise KeyboardInterrupt

    def leave(self) -> None:
        """Python gives signals back their own effects before it is gone; the exit code is to stand."""
        if self._stopping:
            for kind in SIGNALS:
                signal.signal(kind, signal.SIG_IGN)


def _give_up() -> None:
    """What the run has started ends by itself: see `flows.parent_death`; Ray's processes notice."""
    _say(f"interrupted; the clean-up took more than {CLEAN_UP_S:g} s and was left")
    os._exit(INTERRUPTED)


def _say(text: str) -> None:
    """Past `sys.stderr`, which may be in the middle of something."""
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{text}\n".encode())
