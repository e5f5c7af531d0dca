"""Training through Ray Train: workers killed mid-epoch, and losses that are not finite on one of two."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from phreg.distill.job import StudentJob
from phreg.distill.progress import StudentProgress
from phreg.distill.result import StudentReport, finished_report
from phreg.errors import TrainingError
from phreg.execution.train import distil
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.faults.ledger import trial
from tests.faults.training import changed

pytestmark = pytest.mark.slow

GROUP = "Training"
EVERY = 7
CROPS = 20  # one of which has no finite loss, so that steps are skipped before and after each kill


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    if ray.is_initialized():
        ray.shutdown()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    training = {"workers": 2, "checkpoint_every": EVERY, "validate_every": 50, "max_skipped_steps": 1000}
    folder = tmp_path_factory.mktemp("world")
    return make_job(folder, shards=4, images=5, huge={0: (3,)}, training=training, batch_size=1, epochs=60)


@pytest.fixture(scope="module")
def undisturbed(job: StudentJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("output")
    distil(job, str(output))
    return output


def finished(job: StudentJob, output: Path) -> StudentReport:
    report = finished_report(job, Folder(str(output)))
    assert report is not None
    return report


def outcome(job: StudentJob, output: Path) -> dict[str, bytes]:
    folder = job.folder(Folder(str(output)))
    return {path: folder.read(path) for path in ("model/model.safetensors", "curve.jsonl")}


def training_workers() -> list[int]:
    """Process ids, of this test's own Ray, in the order in which they were started."""
    import psutil  # Ray brings it, and only makes it importable

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie's too
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process.pid)
    return sorted(found)


@pytest.mark.parametrize("victims", [(0,), (1,), (1, 0)])
def test_workers_killed_mid_epoch(
    victims: tuple[int, ...], job: StudentJob, undisturbed: Path, tmp_path: Path
) -> None:
    """It survives by itself: no command is given again."""
    total = finished(job, undisturbed).steps
    places = [total * (number + 1) // (len(victims) + 2) for number in range(len(victims))]
    seen: list[int] = []
    killed: list[int] = []  # the steps at which

    def kill(progress: StudentProgress) -> None:
        seen.append(progress.step)
        if (
            len(killed) < len(victims)
            and progress.step > places[len(killed)]
            and len(training_workers()) == 2
        ):
            os.kill(training_workers()[victims[len(killed)]], signal.SIGKILL)
            killed.append(progress.step)

    with trial(GROUP, f"SIGKILL of {len(victims)} of Ray Train's workers mid-epoch", unit="steps") as this:
        report = distil(job, str(tmp_path), on_progress=kill)
        this.repeated = len(killed) * EVERY  # at most: progress is told twice a second, not at every step
        assert len(killed) == len(victims)
        assert report.resumed_from is not None
        assert report.resumed_from % EVERY == 0
        assert report.resumed_from > killed[-1] - EVERY
        assert outcome(job, tmp_path) == outcome(job, undisturbed)
        assert report.skipped_steps == finished(job, undisturbed).skipped_steps
        assert report.skipped_steps.count == 60  # the bad crop, once an epoch


def test_past_the_limit_of_skipped_steps_it_ends_with_the_reason(job: StudentJob, tmp_path: Path) -> None:
    limited = changed(
        job, {"max_skipped_steps": 2, "max_failures": 10_000}
    )  # tried again, it would take hours
    with trial(GROUP, "more steps that are not finite than allowed, through Ray Train", unit="steps"):
        with pytest.raises(TrainingError, match=r"3 steps skipped") as error:
            distil(limited, str(tmp_path))
        assert "photos-000_0003" in error.value.found
        assert finished_report(limited, Folder(str(tmp_path))) is None
