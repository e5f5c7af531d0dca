"""Deployments whose worker, server or own process is killed, and which are cancelled."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.ledger import trial
from tests.faults.runs import EVERY, STEP, Moments, Outcome, outcome
from tests.prefect_stack import Stack, prefect_stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),  # each kills many runs, one after the other
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
GROUP = "Prefect"


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Moments:
    return Moments(tmp_path_factory.mktemp("moments") / "points")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, moments: Moments) -> Iterator[Stack]:
    with prefect_stack(tmp_path_factory.mktemp("prefect"), **moments.environment) as started:
        yield started


def pid_of(stack: Stack) -> int:
    """Of the process that the worker started for its flow run: the one that runs the flow's engine."""
    commands = stack.worker.processes()
    found = [pid for pid, command in commands.items() if "prefect" in command and pid != stack.worker.pid]
    assert len(found) == 1, commands
    return found[0]


def test_kills(stack: Stack, config: Path, undisturbed: Outcome, moments: Moments, tmp_path: Path) -> None:
    """The process of a flow run, then in its re-run the worker, then the server."""
    output = f"output={tmp_path}/run"
    moments.clear()
    targets, training, evaluation = moments.targets(), moments.training(), moments.evaluation()
    with trial(GROUP, "SIGKILL of the flow run's process") as this:
        run = stack.submit("phreg-run/run", config, output)
        moments.reached(stack.worker, targets)
        os.kill(pid_of(stack), signal.SIGKILL)
        assert stack.ended(run) == "CRASHED"
        this.rerun = True
        run = stack.submit("phreg-run/run", config, output)
        moments.reached(stack.worker, training)
        this.repeated = moments.shards_again
        assert outcome(config, output).cache == undisturbed.cache
        assert this.repeated <= 2
    with trial(GROUP, "SIGKILL of the worker", unit="steps") as this:
        killed = stack.worker.kill()
        stack.start_worker()
        moments.points.release(training)
        moments.reached(stack.server, evaluation)
        this.repeated = moments.steps_again
        assert stack.state(run) == "RUNNING"
        assert outcome(config, output).students == undisturbed.students
        assert this.repeated == 0
    with trial(GROUP, "SIGKILL of the server, which is started again", unit="steps and shards") as this:
        before = moments.steps_again + moments.shards_again
        stack.server.kill()
        moments.points.release(evaluation)
        stack.start_server()
        assert stack.ended(run) == "COMPLETED"
        this.repeated = moments.steps_again + moments.shards_again - before
        assert outcome(config, output) == undisturbed
        assert this.repeated == 0
        killed.gone()


@pytest.mark.parametrize("stage", ["targets are made", "a student is trained"])
def test_cancelled(
    stage: str, stack: Stack, config: Path, undisturbed: Outcome, moments: Moments, tmp_path: Path
) -> None:
    output = f"output={tmp_path}/run"
    moments.clear()
    held = moments.targets() if stage.startswith("targets") else moments.training()
    with trial(GROUP, f"`prefect flow-run cancel` while {stage}", unit="steps and shards") as this:
        run = stack.submit("phreg-run/run", config, output)
        moments.reached(stack.worker, held)
        stack.command("flow-run", "cancel", run)
        assert stack.ended(run) == "CANCELLED"
        stack.worker.until(lambda: len(stack.worker.processes()) == 1)
        this.rerun = True
        run = stack.submit("phreg-run/run", config, output)
        assert stack.ended(run) == "COMPLETED"
        this.repeated = moments.steps_again + moments.shards_again
        assert outcome(config, output) == undisturbed
        assert this.repeated <= 2 + EVERY


def test_cancelled_without_a_worker(stack: Stack, config: Path, moments: Moments, tmp_path: Path) -> None:
    """The run outlives the worker that would end it, so it finds out by itself."""
    moments.clear()
    targets = moments.targets()
    with trial(GROUP, "`prefect flow-run cancel` after SIGKILL of the worker") as this:
        run = stack.submit("phreg-run/run", config, f"output={tmp_path}/run")
        moments.reached(stack.worker, targets)
        killed = stack.worker.kill()
        stack.command("flow-run", "cancel", run)
        assert (stack.state(run), bool(killed.processes())) == ("CANCELLING", True)
        assert stack.ended(run, seconds=60) == "CANCELLED"
        killed.gone(60)  # the driver, and the actors with what they hold
        this.repeated = moments.shards_again
        assert (this.repeated, moments.points.labels(STEP)) == (0, [])
    stack.start_worker()
