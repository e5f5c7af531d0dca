"""Training, killed and stopped at any moment, alone and in twos: curve and weights stay what they were."""

import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from phreg.distill.checkpoint import latest_checkpoint
from phreg.distill.job import StudentJob
from phreg.distill.result import finished_report
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.faults.ledger import trial
from tests.faults.training import Attempt, attempted, changed, trained

GROUP = "Training"
SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.reuse, Phase.generate],  # to shrink trainings takes minutes
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    """20 crops in four shards, one of which has no finite loss: its steps are skipped, however it goes."""
    return make_job(tmp_path_factory.mktemp("world"), shards=4, images=5, huge={0: (3,)}, epochs=3)


def files(job: StudentJob, folder: Path) -> dict[str, bytes]:
    home = job.folder(Folder(str(folder / "output")))
    return {path: home.read(path) for path in ("model/model.safetensors", "curve.jsonl")}


Cut = tuple[float, str, float]
"""When, as a share of all steps; a clean `stop`, or the `first` or `last` worker killed; how much later."""

cuts = st.tuples(st.floats(0, 0.95), st.sampled_from(["stop", "first", "last"]), st.floats(0, 0.02))
courses = st.fixed_dictionaries(
    {
        "workers": st.integers(1, 2),
        "shuffle_shards": st.integers(1, 3),
        "checkpoint_every": st.integers(1, 7),
        "batch_size": st.integers(1, 4),
        "cuts": st.lists(cuts, min_size=1, max_size=3),
    }
)


def disturbed(job: StudentJob, folder: Path, cuts: list[Cut], total: int) -> list[Attempt]:
    """Attempts that end early, and a last one that does not."""
    attempts = []
    for number, (share, what, later) in enumerate(cuts):
        step = max(1, round(share * total))
        stop_at = step if what == "stop" else None
        with attempted(job, folder, f"cut-{number}", stop_at=stop_at) as attempt:
            if what == "stop":
                attempt.processes[0].join()
            else:
                attempt.kill(0 if what == "first" else -1, after=step)
                time.sleep(later)  # what the others do meanwhile is up to them
        attempts.append(attempt)
    with attempted(job, folder, "last") as attempt:
        attempt.wait()
    return [*attempts, attempt]


def check_course(world: StudentJob, course: dict[str, Any]) -> None:
    """However it is cut, curve and weights are those of an undisturbed run, bit for bit."""
    training = {name: course[name] for name in ("workers", "shuffle_shards", "checkpoint_every")}
    job = changed(world, training, batch_size=course["batch_size"])
    workers = f"{job.training.workers} worker{'s' if job.training.workers > 1 else ''}"
    fault = f"training with {workers} killed or stopped at random, one to three times"
    with trial(GROUP, fault, unit="steps") as this, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        whole = trained(job, folder / "undisturbed")
        attempts = disturbed(job, folder / "disturbed", course["cuts"], len(whole.steps))
        this.rerun = True
        expected, found = finished_report(job, Folder(str(whole.output))), attempts[-1].outcome(0)
        assert expected is not None
        assert found is not None
        steps = [step for attempt in attempts for step in attempt.steps]
        this.repeated = len(steps) - len(set(steps))
        this.lost = len(set(whole.steps) - set(steps))
        assert files(job, folder / "disturbed") == files(job, folder / "undisturbed")
        assert found["report"]["skipped_steps"]["count"] == expected.skipped_steps.count > 0
        assert this.repeated <= len(course["cuts"]) * job.training.checkpoint_every


@given(course=courses)
@settings(max_examples=3, **SETTINGS)
def test_however_it_is_cut_it_ends_the_same(world: StudentJob, course: dict[str, Any]) -> None:
    check_course(world, course)


@pytest.mark.slow
@given(course=courses)
@settings(max_examples=40, **SETTINGS)
def test_however_it_is_cut_it_ends_the_same_often(world: StudentJob, course: dict[str, Any]) -> None:
    check_course(world, course)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_worker_of_two_killed_mid_epoch(victim: int, world: StudentJob, tmp_path: Path) -> None:
    """The other does not hang: its collective fails."""
    job = changed(world, {"workers": 2, "checkpoint_every": 4}, batch_size=1, epochs=5)
    with trial(GROUP, "one worker of two killed mid-epoch", unit="steps") as this:
        whole = trained(job, tmp_path / "undisturbed")
        with attempted(job, tmp_path / "disturbed", "cut") as cut:
            assert cut.kill(victim, after=18)
            cut.wait()
            assert cut.outcome(1 - victim) is None
        with attempted(job, tmp_path / "disturbed", "last") as last:
            last.wait()
        this.rerun = True
        this.repeated = len(cut.steps) + len(last.steps) - len(whole.steps)
        assert 0 <= this.repeated <= job.training.checkpoint_every
        assert files(job, tmp_path / "disturbed") == files(job, tmp_path / "undisturbed")


@pytest.mark.parametrize("damaged", [1, 2])
def test_damaged_checkpoints_cost_steps(
    damaged: int, world: StudentJob, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = changed(world, {"checkpoint_every": 2})
    what = ["", "the latest checkpoint damaged", "all checkpoints damaged"][damaged]
    with trial(GROUP, what, unit="steps") as this:
        whole = trained(job, tmp_path / "undisturbed")
        with attempted(job, tmp_path / "disturbed", "cut") as cut:
            cut.kill(0, after=9)
        home = job.folder(Folder(str(cut.output)))
        kept = sorted((item.path for item in home.list("checkpoints")), reverse=True)
        for path in kept[:damaged]:
            data = bytearray(home.read(path))
            data[len(data) // 3] ^= 4
            home.write(path, bytes(data))
        latest_checkpoint(home)
        assert all(home.url_of(path) in caplog.text for path in kept[:damaged])
        assert ("from the start" in caplog.text) == (damaged == 2)
        with attempted(job, tmp_path / "disturbed", "last") as last:
            last.wait()
        this.rerun = True
        this.repeated = len(cut.steps) + len(last.steps) - len(whole.steps)
        assert len(kept) == 2
        assert last.steps[0] == (1 if damaged == 2 else int(kept[1][-14:-5]) + 1)
        assert files(job, tmp_path / "disturbed") == files(job, tmp_path / "undisturbed")
