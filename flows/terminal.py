"""Flows run from a terminal: signals are the command line's own affair, and there is a server."""

import contextlib
import logging
from collections.abc import Iterator

from prefect import flow_engine
from prefect.exceptions import CancelledRun

from flows.progress import live_bars
from flows.server import ensure_server


def prepare_terminal() -> None:
    """Call before the first flow of a process that a user started by hand. Errors as `ensure_server`."""
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # Prefect's events find a new server
    # Prefect's engine would take SIGTERM over, and let a second one break into the cleaning up.
    flow_engine.capture_sigterm = contextlib.nullcontext  # type: ignore[assignment]
    ensure_server()


@contextlib.contextmanager
def shown_in_terminal() -> Iterator[None]:
    """Around a flow. One that is cancelled, for instance on Prefect's pages, ends as if by Ctrl-C."""
    try:
        with live_bars():
            yield
    except CancelledRun:
        raise KeyboardInterrupt from None
