"""Ray Train for real: workers in processes of their own, one of them killed."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray._private import state

from phreg.distill.job import StudentJob
from phreg.distill.progress import StudentProgress
from phreg.distill.result import finished_report
from phreg.errors import ConfigError, ContentMismatchError, TrainingError
from phreg.execution.train import distil
from phreg.models import load_student
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.helpers import write_shard

STEPS = 150


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    if ray.is_initialized():
        ray.shutdown()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    """A CLIP student (`value` read-out: parameters without gradient) on two workers."""
    folder = tmp_path_factory.mktemp("world")
    training = {"workers": 2, "checkpoint_every": 7, "validate_every": 50, "max_failures": 2}
    return make_job(folder, "clip", shards=4, training=training, epochs=STEPS / 6)


@pytest.fixture(scope="module")
def undisturbed(job: StudentJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("output")
    seen: list[StudentProgress] = []
    report = distil(job, str(output), on_progress=seen.append)
    assert (report.steps, report.resumed_from, report.reused) == (STEPS, None, False)
    assert [progress.step for progress in seen] == sorted({progress.step for progress in seen})
    assert seen[-1].step == seen[-1].total_steps == STEPS
    return output


def outcome(job: StudentJob, output: Path) -> dict[str, bytes]:
    folder = job.folder(Folder(str(output)))
    return {path: folder.read(path) for path in ("model/model.safetensors", "curve.jsonl")}


def training_workers() -> list[int]:
    return processes("RayTrainWorker")


def processes(title: str) -> list[int]:
    """Process ids, of this test's own Ray."""
    import psutil  # Ray brings it, and only makes it importable

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie's too
            if title in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


def test_a_killed_worker_changes_nothing(job: StudentJob, undisturbed: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_one(progress: StudentProgress) -> None:
        if not killed and 20 < progress.step < STEPS - 20:
            killed.append(training_workers()[-1])
            os.kill(killed[0], signal.SIGKILL)

    report = distil(job, str(tmp_path), on_progress=kill_one)
    assert killed
    assert report.resumed_from is not None
    assert 0 < report.resumed_from < STEPS
    assert report.resumed_from % 7 == 0
    made = {actor["ActorClassName"] for actor in state.actors().values()}
    assert "RayTrainWorker" in made
    assert "DatasetManager" not in made  # a process for datasets that there are not
    assert outcome(job, tmp_path) == outcome(job, undisturbed)


def test_an_interrupted_driver_stops_its_workers(job: StudentJob, tmp_path: Path) -> None:
    def interrupt(progress: StudentProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil(job, str(tmp_path), on_progress=interrupt)
    end = time.monotonic() + 60
    while training_workers() and time.monotonic() < end:
        time.sleep(0.2)
    assert not training_workers()
    assert finished_report(job, Folder(str(tmp_path))) is None


def test_a_killed_controller_frees_the_place_of_its_workers(job: StudentJob, tmp_path: Path) -> None:
    """All CPUs are theirs: the next training, in the same Ray, would wait for them for ever."""

    def kill_controller(progress: StudentProgress) -> None:
        for pid in processes("TrainController"):
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(TrainingError, match="run the same command again"):
        distil(job, str(tmp_path), on_progress=kill_controller)
    report = distil(job, str(tmp_path))
    assert report.steps == STEPS


def test_a_clip_student_has_the_value_read_out(job: StudentJob, undisturbed: Path) -> None:
    student = load_student(job.folder(Folder(str(undisturbed))).url_of("model"))
    assert student.read_out == "value"


def test_a_finished_student_needs_no_ray(
    job: StudentJob, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phreg.execution.train.connect", lambda address: pytest.fail("connected to Ray"))
    assert distil(job, str(undisturbed)).reused


def test_a_worker_s_error_arrives_as_it_was_and_is_not_tried_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, training={"workers": 2, "max_failures": 10_000})  # it would take hours
    write_shard(Path(job.train[0].url), 6, seed=77)
    with pytest.raises(ContentMismatchError, match="photos-000"):
        distil(job, str(tmp_path / "output"))


def test_workers_that_fit_nowhere_are_refused_at_once(tmp_path: Path) -> None:
    job = make_job(tmp_path, training={"workers": 2, "gpus_per_worker": 1})
    with pytest.raises(ConfigError, match=r"2 x 1 CPU, 1 GPU(?s:.)*1 x 2 CPU, 0 GPU"):
        distil(job, str(tmp_path / "output"))
