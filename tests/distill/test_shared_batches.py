"""Students that learn from one stream of batches: each bit for bit as alone, whatever becomes of others."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from phreg.distill import samples as samples_module
from phreg.distill.checkpoint import checkpoint_steps
from phreg.distill.job import StudentJob
from phreg.distill.progress import StudentProgress
from phreg.distill.result import StudentReport, finished_report
from phreg.distill.samples import JoinedShard
from phreg.distill.trainer import train_student, train_students
from phreg.distill.workers import Workers
from phreg.errors import ModelError, TrainingError
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.distill.test_trainer import Interrupted, interrupt_at, outcome
from tests.faults.training import changed

WILD = {"learning_rate": 1e30, "final_learning_rate": 1e30}


def students(job: StudentJob) -> list[StudentJob]:
    """That differ in all in which they may."""
    return [
        job,
        changed(job, {}, name="b", registers=None, unlock=("pos_embed", "last_block")),
        changed(job, {}, name="c", registers=5, learning_rate=1e-3, weight_decay=0.1, clip_gradient=None),
        changed(job, {}, name="d", read_out="value", precision="bfloat16"),
    ]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[StudentJob]:
    return students(make_job(tmp_path_factory.mktemp("world"), epochs=2.5))


@pytest.fixture(scope="module")
def alone(jobs: list[StudentJob], tmp_path_factory: pytest.TempPathFactory) -> Folder:
    output = Folder(str(tmp_path_factory.mktemp("alone")))
    for job in jobs:
        train_student(job, output)
    return output


def check_equal(jobs: list[StudentJob], alone: Folder, shared: Folder) -> None:
    for job in jobs:
        assert outcome(job, shared) == outcome(job, alone), job.student.name
        one, other = finished_report(job, alone), finished_report(job, shared)
        assert one is not None
        assert other is not None
        same = {"seconds": 0.0, "url": "", "resumed_from": None}
        assert dataclasses.replace(one, **same) == dataclasses.replace(other, **same)


def test_each_is_what_it_is_alone_and_all_is_read_and_decoded_once(
    jobs: list[StudentJob], alone: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, cut = Counter[str](), []
    join, crop = samples_module.join_shard, samples_module._crop

    def counted_join(ref, store):  # type: ignore[no-untyped-def]
        read[ref.name] += 1
        return join(ref, store)

    def counted_crop(shard: JoinedShard, row: int, size: int):  # type: ignore[no-untyped-def]
        cut.append(row)
        return crop(shard, row, size)

    monkeypatch.setattr(samples_module, "join_shard", counted_join)
    monkeypatch.setattr(samples_module, "_crop", counted_crop)
    told: list[StudentProgress] = []
    output = Folder(str(tmp_path))
    reports = train_students(jobs, output, on_progress=told.append)
    assert [report.name for report in reports if isinstance(report, StudentReport)] == ["a", "b", "c", "d"]
    check_equal(jobs, alone, output)
    steps, held_out = 22, 6  # of which validation wants them eight times
    assert len(cut) <= (steps + 2) * 2 + held_out
    assert read["photos-003"] == 1
    assert (told[-1].students, told[-1].step) == (len(jobs), steps)


def test_interrupted_it_goes_on_from_each_one_s_own_checkpoint(
    jobs: list[StudentJob], alone: Folder, tmp_path: Path
) -> None:
    """One that is ahead joins in where its checkpoint is; one that is finished is reused."""
    output = Folder(str(tmp_path))
    train_student(jobs[3], output)
    with pytest.raises(Interrupted):
        train_student(jobs[1], output, on_progress=interrupt_at(13))
    with pytest.raises(Interrupted):
        train_students(jobs, output, on_progress=interrupt_at(5))
    assert [checkpoint_steps(job.folder(output))[:1] for job in jobs[:3]] == [[4], [12], [4]]
    reports = train_students(jobs, output)
    assert [report.resumed_from for report in reports[:3] if isinstance(report, StudentReport)] == [4, 12, 4]
    assert isinstance(reports[3], StudentReport)
    assert reports[3].reused
    check_equal(jobs, alone, output)


def test_what_is_wrong_with_one_stops_no_other(jobs: list[StudentJob], alone: Folder, tmp_path: Path) -> None:
    """A loss that is not finite in training, or on the held-out crops; and a student that cannot be made."""
    wild = changed(jobs[0], {"max_skipped_steps": 1}, name="wild", **WILD)
    unseen = changed(
        jobs[0], {"max_skipped_steps": 99, "validate_every": 2}, name="unseen", registers=7, **WILD
    )
    wrong = changed(jobs[0], {}, name="wrong", unlock=("blocks.77.*",))
    output = Folder(str(tmp_path))
    mixed = [wild, jobs[0], wrong, jobs[1], unseen]
    found = train_students(mixed, output)
    assert isinstance(found[0], TrainingError)
    assert "not finite at step" in str(found[0])
    assert isinstance(found[2], ModelError)
    assert isinstance(found[4], TrainingError)
    assert "held-out" in str(found[4])
    check_equal(jobs[:2], alone, output)
    for job in (wild, unseen):
        with pytest.raises(TrainingError) as error:
            train_student(job, Folder(str(tmp_path / "alone")))
        assert str(error.value) == str(found[mixed.index(job)])


def test_students_that_differ_in_name_alone_are_one(jobs: list[StudentJob], tmp_path: Path) -> None:
    told: list[StudentProgress] = []
    twins = [jobs[0], changed(jobs[0], {}, name="twin")]
    reports = train_students(twins, Folder(str(tmp_path)), on_progress=told.append)
    assert [report.name for report in reports if isinstance(report, StudentReport)] == ["a", "twin"]
    assert told[-1].students == 1


@pytest.mark.parametrize("other", [{"seed": 1}, {"batch_size": 3}, {"epochs": 2.0}])
def test_those_that_see_other_batches_share_none(other: dict, jobs: list[StudentJob], tmp_path: Path) -> None:
    stranger = changed(jobs[0], {}, **other)
    assert stranger.batches != jobs[0].batches
    with pytest.raises(AssertionError):
        train_students([jobs[0], stranger], Folder(str(tmp_path)))


def _together(rank: int, folder: str, jobs: list[StudentJob]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    output, workers = Folder(f"{folder}/output"), Workers(rank, 2)
    if len(jobs) > 1:
        found = train_students(jobs, output, workers)
        assert [isinstance(each, TrainingError) for each in found] == [False, True, False]
    else:
        train_student(jobs[0], output, workers)
    distributed.destroy_process_group()


def test_two_workers_share_with_several_students_as_with_one(tmp_path: Path) -> None:
    """Also after one of them has failed, on both workers alike."""
    job = make_job(tmp_path / "world", "clip", training={"workers": 2, "max_skipped_steps": 1})
    jobs = [job, changed(job, {}, name="wild", **WILD), changed(job, {}, name="c", registers=5)]
    (tmp_path / "shared").mkdir()
    multiprocessing.spawn(_together, (str(tmp_path / "shared"), jobs), nprocs=2)
    for number in (0, 2):
        (tmp_path / f"alone-{number}").mkdir()
        multiprocessing.spawn(_together, (str(tmp_path / f"alone-{number}"), [jobs[number]]), nprocs=2)
        shared, own = Folder(f"{tmp_path}/shared/output"), Folder(f"{tmp_path}/alone-{number}/output")
        assert outcome(jobs[number], shared) == outcome(jobs[number], own)
