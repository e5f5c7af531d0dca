"""Students side by side on a real Ray: killed workers, failures, interrupts, and nodes that join."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import ray

from phreg.config.run import TrainingConfig
from phreg.distill.job import StudentJob
from phreg.distill.progress import StudentProgress
from phreg.distill.trainer import train_student
from phreg.errors import ContentMismatchError
from phreg.execution.capacity import Room
from phreg.execution.side_by_side import side_by_side
from phreg.execution.train import distil, distil_together, student_places
from phreg.stopping import stopped_by
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.execution.test_train import outcome, training_workers
from tests.faults.clusters import driver_of, loopback_cluster
from tests.faults.training import changed
from tests.helpers import write_shard

pytestmark = pytest.mark.slow

STEPS = 500


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[StudentJob]:
    """Three students of one world, and one whose shard has changed since."""
    training = {"checkpoint_every": 20, "validate_every": 300}
    job = make_job(tmp_path_factory.mktemp("world"), training=training, epochs=STEPS / 9)
    wrong = make_job(tmp_path_factory.mktemp("wrong"), training=training)
    write_shard(Path(wrong.train[0].url), 6, seed=77)
    other, third = (changed(job, {}, name=f"r{n}", registers=n) for n in (3, 4))
    return [job, other, wrong, third]


def connected(cpus: int) -> None:
    if ray.is_initialized():
        ray.shutdown()
    ray.init(
        address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )


def test_a_failure_and_a_killed_worker_change_nothing(jobs: list[StudentJob], tmp_path: Path) -> None:
    at_work, together, killed = set[str](), list[set[str]](), list[int]()

    def on_progress(name: str, progress: StudentProgress) -> None:
        at_work.add(name)
        if progress.final:
            at_work.discard(name)
        together.append(set(at_work))
        if len(at_work) == 2 and not killed and 20 < progress.step < STEPS - 50:
            killed.append(training_workers()[-1])
            os.kill(killed[0], signal.SIGKILL)

    connected(2)
    works = [
        partial(distil, job, str(tmp_path / "side"), on_progress=partial(on_progress, job.student.name))
        for job in jobs
    ]
    outcomes = side_by_side(works, student_places(TrainingConfig()))
    ray.shutdown()
    assert isinstance(outcomes.pop(2), ContentMismatchError)
    assert killed
    assert max(map(len, together)) == 2
    for job, report in zip([*jobs[:2], jobs[3]], outcomes, strict=True):
        assert not isinstance(report, Exception)
        train_student(job, Folder(str(tmp_path / "alone")))
        assert outcome(job, tmp_path / "side") == outcome(job, tmp_path / "alone")


def test_a_killed_worker_of_several_students_changes_nothing(jobs: list[StudentJob], tmp_path: Path) -> None:
    """Three that share their batches: each goes on from a checkpoint of its own."""
    together, killed = [*jobs[:2], jobs[3]], list[int]()

    def on_progress(progress: StudentProgress) -> None:
        assert progress.students == 3
        if len(killed) < 2 and (100, 250)[len(killed)] < progress.step < STEPS - 50 and training_workers():
            killed.append(progress.step)
            os.kill(training_workers()[-1], signal.SIGKILL)

    connected(1)
    reports = distil_together(together, str(tmp_path / "shared"), on_progress=on_progress)
    ray.shutdown()
    assert killed
    for job, report in zip(together, reports, strict=True):
        assert not isinstance(report, Exception)
        assert report.resumed_from is not None
        assert report.resumed_from % 20 == 0
        train_student(job, Folder(str(tmp_path / "alone")))
        assert outcome(job, tmp_path / "shared") == outcome(job, tmp_path / "alone")


def test_an_interrupted_driver_stops_all_and_their_places_are_given_back(
    jobs: list[StudentJob], tmp_path: Path
) -> None:
    seen = set[str]()

    def check() -> None:
        if len(seen) == 2:
            raise KeyboardInterrupt

    def work(job: StudentJob) -> Callable[[], object]:
        return lambda: distil(job, str(tmp_path), on_progress=lambda progress: seen.add(job.digest))

    connected(2)
    with pytest.raises(KeyboardInterrupt), stopped_by(check):
        side_by_side([work(job) for job in (*jobs[:2], jobs[3])], lambda: 2)
    end = time.monotonic() + 60
    while training_workers() and time.monotonic() < end:
        time.sleep(0.2)
    assert not training_workers()
    assert distil(jobs[0], str(tmp_path)).resumed_from is not None
    ray.shutdown()


def test_a_node_that_joins_is_room_for_more() -> None:
    with loopback_cluster(1) as cluster, driver_of(cluster):
        assert Room({"CPU": 1, "GPU": 0}, 1).places() == 1
        assert Room({"CPU": 1, "GPU": 0}, 2).places() == 0
        cluster.add_node(num_cpus=3)
        assert Room({"CPU": 1, "GPU": 0}, 1).places() == 4
        assert Room({"CPU": 2, "GPU": 0}, 1).places() == 1, "a worker is not spread over nodes"
        assert student_places(TrainingConfig(parallel_students=3))() == 3
        assert student_places(TrainingConfig(workers=2))() == 2
