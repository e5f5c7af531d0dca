"""A disk that is full: the error names the file and what to do, nothing half-written is seen, and all goes
on once there is room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from phreg.cache import TargetStore
from phreg.data import read_shard
from phreg.distill.checkpoint import checkpoint_steps, read_checkpoint
from phreg.distill.job import StudentJob
from phreg.distill.progress import StudentProgress
from phreg.distill.result import finished_report
from phreg.distill.trainer import train_student
from phreg.errors import StorageError
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.distill.test_trainer import outcome
from tests.faults.caches import digests
from tests.faults.ledger import trial
from tests.faults.scene import SHARDS, Scene, attempts, make_scene
from tests.faults.small_disk import PAGE, Disk, small_disk

FULL = r"No space left on device(?s:.)*free disk space, then run the same command again"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk") as mounted:
        yield mounted


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.mark.parametrize("pages", [0, 1, 7, 16, 25])
def test_while_targets_are_made(scene: Scene, disk: Disk, pages: int) -> None:
    """Two shards are done when the disk fills up to so many pages."""
    cache = Folder(str(disk.path / "cache"))
    with trial("disk full", "while targets are made") as this:
        this.rerun = True
        scene.generate(cache, scene.urls[:2])
        disk.leave(pages * PAGE)
        with pytest.raises(StorageError, match=FULL) as caught:
            scene.generate(cache, scene.urls)
        assert cache.url in caught.value.problem
        assert disk.left_over() == []
        store = TargetStore.open(cache, scene.world.spec.digest)
        done = store.shards()
        assert {"s-0", "s-1"} <= set(done)
        assert all(len(store.read(shard)) for shard in done)
        assert attempts(cache) == len(done), "what was written in vain takes no room"
        disk.free()
        reports = scene.generate(cache, scene.urls)
        assert [report.shard for report in reports if report.reused] == done
        this.repeated = attempts(cache) - SHARDS
        assert digests(cache) == scene.expected


def test_at_every_page_of_a_commit(scene: Scene, disk: Disk) -> None:
    """Whatever is written when the room runs out, data or record: the shard is there whole, or not at all."""
    cache, shard = Folder(str(disk.path / "cache")), read_shard(scene.urls[0])
    rows = scene.world.store.read("s-0")
    store = TargetStore.create(cache, scene.world.spec)
    failed_at, problems = set(), []
    with trial("disk full", "at every page of a commit") as this:
        for pages in range(200):
            disk.leave(pages * PAGE)
            try:
                store.commit("s-0", shard.digest, rows)
                break
            except StorageError as error:
                problems.append(str(error))
                failed_at.add("record" if "/shards/" in error.problem else "data")
            assert store.record("s-0") is None
            assert disk.left_over() == []
            assert attempts(cache) == 0, "what was written in vain takes no room"
            disk.free()
        this.repeated = attempts(cache) - 1
        assert failed_at == {"data", "record"}
        assert all("free disk space" in problem for problem in problems)
        assert (
            digests(cache)[scene.world.spec.digest]["s-0"] == scene.expected[scene.world.spec.digest]["s-0"]
        )


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    return make_job(tmp_path_factory.mktemp("world"), shards=2, images=4, epochs=2)


@pytest.fixture(scope="module")
def undisturbed(job: StudentJob, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = Folder(str(tmp_path_factory.mktemp("output")))
    train_student(job, output)
    return outcome(job, output)


@pytest.mark.parametrize("pages", [0, 1, 10])
@pytest.mark.parametrize(
    ("step", "named"),
    [(1, "a first checkpoint"), (5, "a last checkpoint"), (8, "the result")],
)
def test_while_training(
    job: StudentJob, undisturbed: dict[str, bytes], disk: Disk, step: int, named: str, pages: int
) -> None:
    """The room is gone after so many of 8 steps."""
    output = Folder(str(disk.path / "output"))

    def fill(progress: StudentProgress) -> None:
        if progress.step == step:
            disk.leave(pages * PAGE)

    with trial("disk full", f"while {named} is written", "steps") as this:
        this.rerun = True
        with pytest.raises(StorageError, match=FULL) as caught:
            train_student(job, output, on_progress=fill)
        folder = job.folder(output)
        assert folder.url in caught.value.problem
        assert disk.left_over() == []
        assert finished_report(job, output) is None
        kept = checkpoint_steps(folder)
        assert all(read_checkpoint(folder, kept_step) for kept_step in kept)
        disk.free()
        report = train_student(job, output)
        assert report.resumed_from == (kept[0] if kept else None)
        this.repeated = min(step + 1, 8) - (report.resumed_from or 0)
        assert outcome(job, output) == undisturbed
