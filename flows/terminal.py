"""Flows run from a terminal: signals are the command line's own affair, and there is a server."""

import contextlib
import logging

from prefect import flow_engine

from flows.server import ensure_server


def prepare_terminal() -> None:
    """Call before the first flow of a process that a user started by hand. Errors as `ensure_server`."""
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # Prefect's events find a new server
    # Prefect's engine would take SIGTERM over, and let a second one break into the cleaning up.
    flow_engine.capture_sigterm = contextlib.nullcontext  # type: ignore[assignment]
    ensure_server()
