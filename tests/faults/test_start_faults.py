"""`phreg run` where Prefect or Ray do not start as they should: an error in words, and nothing is left."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.ledger import trial
from tests.faults.runs import Moments, Outcome, outcome
from tests.processes import Started, Starter, starter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
GROUP = "Starting"
SERVER, RAY = "create_app", "gcs_server"  # in command lines


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    with starter(tmp_path_factory.mktemp("start")) as started:
        yield started


def send(run: Started, process: str, kind: signal.Signals) -> int:
    """A signal to one of a run's processes as soon as it is there."""
    run.runs(process)
    (pid,) = [pid for pid, command in run.processes().items() if process in command]
    os.kill(pid, kind)
    return pid


def check_error(run: Started, what: str) -> None:
    assert run.ends(400) == 2, run.tail
    assert f"error: {what}" in run.text
    assert "what to do" in run.text
    assert "Traceback" not in run.text, run.tail
    run.gone(60)


def test_a_named_prefect_that_does_not_answer(start: Starter, config: Path) -> None:
    with trial(GROUP, "Prefect's API is named, but not there", unit="-") as this:
        run = start.phreg("run", str(config), PREFECT_API_URL="http://127.0.0.1:9/api")
        check_error(run, "Prefect's API at http://127.0.0.1:9/api does not answer")
        this.rerun = True


def test_a_prefect_server_that_takes_too_long(start: Starter, config: Path) -> None:
    with trial(GROUP, "Prefect's server hangs as it starts", unit="-") as this:
        run = start.phreg("run", str(config), PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="3")
        send(run, SERVER, signal.SIGSTOP)
        check_error(run, "Prefect's temporary server did not start within 3 s")
        this.rerun = True


@pytest.mark.slow
def test_a_prefect_server_that_is_killed(start: Starter, config: Path, undisturbed: Outcome) -> None:
    """The temporary one, which nobody else starts again."""
    with trial(GROUP, "SIGKILL of Prefect's temporary server, as it starts and later on") as this:
        output, points = f"output={start.folder}/run", Moments(start.folder / "points")
        held = points.targets()
        run = start.phreg("run", str(config), "--set", output, **points.environment)
        first = send(run, SERVER, signal.SIGKILL)
        points.reached(run, held)
        assert first != send(run, SERVER, signal.SIGKILL)
        points.points.release(held)
        assert run.ends(400) == 0, run.tail
        this.repeated = points.shards_again
        assert outcome(config, output) == undisturbed
        assert this.repeated == 0
        assert "Traceback" not in run.text, run.tail
        run.gone(60)


@pytest.mark.slow
def test_a_ray_that_does_not_start(start: Starter, config: Path) -> None:
    with trial(GROUP, "Ray hangs as it starts", unit="-") as this:
        run = start.phreg("run", str(config))
        send(run, RAY, signal.SIGSTOP)
        check_error(run, "The local Ray did not start")
        this.rerun = True
