"""A run looks at its own state: it ends when it was cancelled, and for no other reason."""

import threading
import time
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import CancelledRun
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Cancelling, State
from prefect.testing.utilities import prefect_test_harness

from flows import cancelling
from flows.cancelling import ends_when_cancelled
from phreg.stopping import check_stop, stopped_by

RUNNING, ASKED, DONE = StateType.RUNNING, StateType.CANCELLING, StateType.CANCELLED


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "EVERY_S", 0.02)
    monkeypatch.setattr(cancelling, "WORKER_S", 0.1)


def get_client_of(url: str) -> SyncPrefectClient:
    with temporary_settings({PREFECT_API_URL: url}):
        return get_client(sync_client=True)


@pytest.mark.parametrize(
    ("states", "cancelled"),
    [
        ([RUNNING, ASKED], True),
        ([RUNNING, ASKED, None, None], True),  # an API that goes away has not taken it back
        ([RUNNING, DONE], True),
        ([RUNNING, ASKED, RUNNING], False),
        ([None], False),
        ([RUNNING, None], False),
        ([StateType.CRASHED], False),
    ],
)
def test_which_states_end_a_run(
    states: list[StateType | None], cancelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one stays."""
    over, looks = threading.Event(), iter([*states, *[states[-1]] * 20])

    def look(client: SyncPrefectClient, run: UUID) -> StateType | None:
        try:
            return next(looks)
        except StopIteration:
            over.set()
            return states[-1]

    monkeypatch.setattr(cancelling, "_state", look)
    found = threading.Event()
    cancelling._watch(get_client_of("http://127.0.0.1:9/api"), uuid4(), found, over)
    assert found.is_set() == cancelled


def test_a_server_that_is_not_there_says_nothing() -> None:
    assert cancelling._state(get_client_of("http://127.0.0.1:9/api"), uuid4()) is None


def test_checks_are_those_of_their_block() -> None:
    class Stop(BaseException):
        pass

    def stop() -> None:
        raise Stop

    check_stop()
    with pytest.raises(Stop), stopped_by(stop):
        check_stop()
    check_stop()


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("asked", [Cancelling(), Cancelled()])
def test_a_flow_that_is_cancelled_ends_as_such(server: None, asked: State) -> None:
    """Also out of a task, which would be tried again if it had failed. No worker has a part in it."""
    left, runs = [], []

    @task(retries=2)
    def wait() -> None:
        try:
            while True:
                check_stop()
                time.sleep(0.01)
        finally:
            left.append("the task")

    @flow
    @ends_when_cancelled
    def waits() -> None:
        run = UUID(flow_run.id)
        runs.append(run)
        threading.Thread(target=cancel, args=(run,)).start()
        wait()
        left.append("what comes after it")

    def cancel(run: UUID) -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run, asked, force=True)

    with pytest.raises(CancelledRun):
        waits()
    assert left == ["the task"]
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(runs[0]).state.type is DONE
