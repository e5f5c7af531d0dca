"""What a flow run does when the Prefect worker that started it is killed, or tells it to end."""

import functools
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.exceptions import TerminationSignal
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.runtime import deployment
from prefect.utilities import engine
from rich.console import Console


class _Sigterm:
    """Prefect's own handler of SIGTERM, by which a worker cancels a run, but for Ray: out of a handler its
    compiled code passes on `KeyboardInterrupt` only. Others turn into a SystemError, and not before what was
    waited for is done.
    """

    def __init__(self) -> None:
        self._inside = self._received = False

    def __call__(self, signum: int, *frame: object) -> None:
        if not self._inside:
            raise TerminationSignal(signal=signum)
        if not self._received:  # a second one must not break into the removal of what was started
            self._received = True
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """For as long as `inside_ray` lasts."""
        self._received = True

    @contextmanager
    def inside_ray(self) -> Iterator[None]:
        self._inside, self._received = True, False
        try:
            yield
        except KeyboardInterrupt:
            if self._received:
                raise TerminationSignal(signal=signal.SIGTERM) from None
            raise
        finally:
            self._inside = False


_sigterm = _Sigterm()
# Prefect tells its worker that a run can be cancelled only while the handler in place is this very one.
engine._prefect_sigterm_handler = _sigterm  # type: ignore[assignment]
cancellable = _sigterm.inside_ray
hear_no_signals = _sigterm.ignore


def outlive_worker() -> None:
    """Have the deployed flow run that this process is go on when its worker is killed.

    The worker reads what its runs print. Without it the next line of the log would be one into a broken pipe,
    upon which rich ends the process; the log goes to Prefect's API all the same.
    """
    if deployment.id is None:
        return
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if isinstance(handler, PrefectConsoleHandler):
            # what it does by default is for a terminal
            handler.console.on_broken_pipe = functools.partial(_go_on, handler.console)  # type: ignore[method-assign]


def _go_on(console: Console) -> None:
    console.quiet = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nowhere, output)
