"""A flow run that is cancelled though no worker tells it: the worker was killed, or there never was one.

Prefect's worker is what ends a cancelled run. Without it the run stays `Cancelling` and goes on, so the run
looks at its own state. A worker that lives is given time to do it.
"""

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run
from prefect.states import Cancelled

from flows.worker import hear_no_signals
from phreg.stopping import stopped_by

EVERY_S = 3.0  # between two looks
WORKER_S = 15.0  # a worker's time to end a run itself
ANSWER_S = 10.0  # Prefect's API may be slow, or away: then nothing is known, and the run goes on

F = TypeVar("F", bound=Callable[..., Any])


class RunCancelled(BaseException):
    """Out of a flow's waiting. No `Exception`: it must pass all that survives those."""


def ends_when_cancelled(stages: F) -> F:
    """A flow's function that ends as `Cancelled` once its run is cancelled, with all that it started."""

    @functools.wraps(stages)
    def run(*arguments: Any, **named: Any) -> Any:
        try:
            with _watched(flow_run.id):
                return stages(*arguments, **named)
        except RunCancelled:
            words = "cancelled; what is committed is kept, another run goes on from there"
            get_run_logger().info(words)
            return Cancelled(message=words)

    return cast(F, run)


@contextmanager
def _watched(run: str | None) -> Iterator[None]:
    if run is None:
        yield
        return
    cancelled, over = threading.Event(), threading.Event()

    def check() -> None:
        if cancelled.is_set():
            hear_no_signals()
            raise RunCancelled

    # Made here, where there is an API: later a client might start a temporary server anew, as the run ends.
    client = get_client(sync_client=True, httpx_settings={"timeout": ANSWER_S})
    threading.Thread(target=_watch, args=(client, UUID(run), cancelled, over), daemon=True).start()
    try:
        with stopped_by(check):
            yield
    finally:
        over.set()


def _watch(client: SyncPrefectClient, run: UUID, cancelled: threading.Event, over: threading.Event) -> None:
    """In a thread: a look never keeps the run waiting."""
    since: float | None = None
    while not over.wait(EVERY_S):
        state = _state(client, run)
        if state is StateType.CANCELLING:
            since = since or time.monotonic()
        elif state is not None:
            since = None
        waited = since is not None and time.monotonic() - since > WORKER_S
        if waited or state is StateType.CANCELLED:
            cancelled.set()
            return


def _state(client: SyncPrefectClient, run: UUID) -> StateType | None:
    """None where the API does not answer."""
    with suppress(Exception):
        state = client.read_flow_run(run).state
        return None if state is None else state.type
    return None
