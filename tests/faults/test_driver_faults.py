"""`phreg run` killed at every stage: it leaves no processes, and the same command goes on where it was."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.ledger import trial
from tests.faults.runs import EVERY, Moments, Outcome, outcome
from tests.processes import Started, Starter, starter

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),  # each kills many runs, one after the other
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
GROUP = "Driver"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    with starter(tmp_path_factory.mktemp("driver")) as started:
        yield started


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    """As from a terminal, though the tests may run under `nohup`: what is ignored here is ignored there."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_sigkill_at_every_stage(start: Starter, config: Path, undisturbed: Outcome, tmp_path: Path) -> None:
    """One run after the other on the same output, each killed further on."""
    output = f"output={tmp_path}/run"
    moments = Moments(tmp_path / "points")
    targets, training = moments.targets(), moments.training()
    evaluation, registration = moments.evaluation(), moments.registration()

    def until(moment: str) -> Started:
        run = start.phreg("run", str(config), "--set", output, **moments.environment)
        moments.reached(run, moment)
        return run

    with trial(GROUP, "SIGKILL while targets are made") as this:
        killed = until(targets).kill()
        this.rerun = True
        run = until(training)
        this.repeated = moments.shards_again
        assert outcome(config, output).cache == undisturbed.cache
        assert this.repeated <= 2, "there were two actors"
        killed.gone()
    with trial(GROUP, "SIGKILL while a student is trained", unit="steps") as this:
        killed = run.kill()
        this.rerun = True
        run = until(evaluation)
        this.repeated = moments.steps_again
        assert outcome(config, output).students == undisturbed.students
        assert 0 < this.repeated <= EVERY
        killed.gone()
    with trial(GROUP, "SIGKILL while a student is evaluated", unit="steps and shards") as this:
        before = moments.steps_again + moments.shards_again
        killed = run.kill()
        this.rerun = True
        run = until(registration)
        this.repeated = moments.steps_again + moments.shards_again - before
        assert this.repeated == 0
        killed.gone()
    with trial(GROUP, "SIGKILL while a student is registered", unit="versions") as this:
        killed = run.kill()
        assert outcome(config, output).registered == []
        this.rerun = True
        run = start.phreg("run", str(config), "--set", output)
        assert run.ends() == 0, run.tail
        assert outcome(config, output) == undisturbed
        killed.gone()
        run.gone()


def test_a_signal_at_every_stage(start: Starter, config: Path, undisturbed: Outcome, tmp_path: Path) -> None:
    """Each ends the run soon, in one sentence, and nothing is left; the next goes on."""
    output, moments = f"output={tmp_path}/run", Moments(tmp_path / "points")
    held = {
        "the run is prepared": moments.at("phreg.pipeline.prepare:prepare"),
        "targets are made": moments.targets(),
        "a student is trained": moments.training(),
        "a student is evaluated": moments.evaluation(),
        "a student is registered": moments.registration(),
    }
    kinds = {
        "Prefect's server starts": signal.SIGINT,
        "the run is prepared": signal.SIGTERM,
        "Ray starts": signal.SIGINT,
        "targets are made": signal.SIGHUP,
        "a student is trained": signal.SIGINT,
        "a student is evaluated": signal.SIGTERM,
        "a student is registered": signal.SIGINT,
    }
    stopped = []
    for stage, kind in kinds.items():
        with trial(GROUP, f"Ctrl-C or a signal while {stage}", unit="steps and shards") as this:
            done = moments.steps_again + moments.shards_again
            run = start.phreg("run", str(config), "--set", output, **moments.environment)
            if stage in held:
                moments.reached(run, held[stage])
            else:
                run.runs({"Prefect's server starts": "create_app", "Ray starts": "gcs_server"}[stage])
            run.interrupt(kind)
            check_stopped(run)
            this.rerun = True
            this.repeated = moments.steps_again + moments.shards_again - done
            stopped.append(run)
    run = start.phreg("run", str(config), "--set", output)
    assert run.ends() == 0, run.tail
    assert outcome(config, output) == undisturbed
    assert moments.shards_again <= 2
    assert moments.steps_again <= EVERY
    for each in [*stopped, run]:
        each.gone()


def test_more_signals_than_one_break_into_nothing(start: Starter, config: Path, tmp_path: Path) -> None:
    moments = Moments(tmp_path / "points")
    training = moments.training()
    with trial(GROUP, "Ctrl-C, again and again", unit="steps") as this:
        run = start.phreg("run", str(config), "--set", f"output={tmp_path}/run", **moments.environment)
        moments.reached(run, training)
        while run.process.poll() is None:
            run.interrupt(signal.SIGINT)
            time.sleep(0.1)
        check_stopped(run)
        run.gone(30)
        this.rerun = True


def check_stopped(run: Started) -> None:
    """By its exit code, soon, and in words that a user can read."""
    assert run.ends(120) == 130, run.tail
    assert run.text.count("the same command goes on from there") == 1, run.tail
    assert "Traceback" not in run.text, run.text
