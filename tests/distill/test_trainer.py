"""Whole small trainings, on CPU, without a cluster."""

import dataclasses
import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from phreg.distill.checkpoint import checkpoint_steps
from phreg.distill.curve import curve_from_jsonl
from phreg.distill.job import StudentJob
from phreg.distill.progress import StudentProgress
from phreg.distill.result import StudentReport, finished_report
from phreg.distill.trainer import train_student
from phreg.distill.workers import Workers
from phreg.errors import AccessDeniedError, TrainingError
from phreg.models import load_backbone, load_student
from phreg.storage import Folder
from phreg.storage.local import temporary_file
from tests.distill.jobs import make_job


class Interrupted(Exception):
    pass


def interrupt_at(step: int) -> Callable[[StudentProgress], None]:
    def on_progress(progress: StudentProgress) -> None:
        if progress.step == step:
            raise Interrupted

    return on_progress


def outcome(job: StudentJob, output: Folder) -> dict[str, bytes]:
    folder = job.folder(output)
    return {
        path: folder.read(path) for path in ("model/model.safetensors", "model/config.json", "curve.jsonl")
    }


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    return make_job(tmp_path_factory.mktemp("world"), epochs=2.5)


@pytest.fixture(scope="module")
def undisturbed(job: StudentJob, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    output = Folder(str(tmp_path_factory.mktemp("output")))
    train_student(job, output)
    return output


def test_it_learns(job: StudentJob, undisturbed: Folder) -> None:
    report = finished_report(job, undisturbed)
    assert report is not None
    curve = curve_from_jsonl(job.folder(undisturbed).read("curve.jsonl").decode())
    held_out = [point for point in curve if point.split == "validation"]
    assert held_out[-1].total < 0.9 * held_out[0].total
    assert report.validation_loss == held_out[-1].losses
    assert report.steps == 22  # 18 crops in batches of 2, two and a half times
    assert [point.step for point in curve if point.split == "train"] == list(range(1, 23))
    assert [point.step for point in held_out] == [*range(3, 22, 3), 22]
    assert curve[-1].epoch == pytest.approx(2.5, abs=0.06)


@pytest.mark.parametrize("seed", range(4))
def test_interrupted_anywhere_it_ends_the_same(
    seed: int, job: StudentJob, undisturbed: Folder, tmp_path: Path
) -> None:
    steps = sorted(random.Random(seed).sample(range(1, 23), 2))
    output = Folder(str(tmp_path))
    for step in steps:
        with pytest.raises(Interrupted):
            train_student(job, output, on_progress=interrupt_at(step))
    report = train_student(job, output)
    assert report.resumed_from == (steps[1] - steps[1] % 2 or None)
    assert outcome(job, output) == outcome(job, undisturbed)


def test_a_damaged_checkpoint_costs_steps_and_changes_nothing(
    job: StudentJob, undisturbed: Folder, tmp_path: Path
) -> None:
    output = Folder(str(tmp_path))
    with pytest.raises(Interrupted):
        train_student(job, output, on_progress=interrupt_at(11))
    folder = job.folder(output)
    assert checkpoint_steps(folder) == [10, 8]
    folder.write("checkpoints/step-000000010.ckpt", b"not a checkpoint")
    assert train_student(job, output).resumed_from == 8
    assert outcome(job, output) == outcome(job, undisturbed)


def test_a_finished_student_is_reused_under_any_name(job: StudentJob, undisturbed: Folder) -> None:
    def never(progress: StudentProgress) -> None:
        raise AssertionError("trained again")

    renamed = dataclasses.replace(job, student=job.student.model_copy(update={"name": "b"}))
    report = train_student(renamed, undisturbed, on_progress=never)
    assert (report.reused, report.name) == (True, "b")


def _reuse(rank: int, folder: str, job: StudentJob) -> None:
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    report = train_student(job, Folder(f"{folder}/disk-{rank}"), Workers(rank, 2))
    assert (report.reused, report.digest) == (True, job.digest)
    distributed.destroy_process_group()


def test_a_student_that_the_first_worker_finds_finished_is_so_for_all(
    job: StudentJob, undisturbed: Folder, tmp_path: Path
) -> None:
    """Also for one that does not see it: its disk is another, or a third run has begun anew since."""
    shutil.copytree(undisturbed.url.removeprefix("file://"), tmp_path / "disk-0")
    multiprocessing.spawn(_reuse, (str(tmp_path), job), nprocs=2)


def test_what_only_serves_to_go_on_goes_with_the_end(job: StudentJob, undisturbed: Folder) -> None:
    there = {item.path.partition("/")[0] for item in job.folder(undisturbed).list()}
    assert there == {"model", "curve.jsonl", "result.json"}


@pytest.mark.parametrize("kept", [False, True])
def test_what_a_run_that_died_left_goes_when_the_student_is_reused(
    kept: bool, job: StudentJob, undisturbed: Folder, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed.local_path, tmp_path, dirs_exist_ok=True)
    training = job.training.model_copy(update={"keep_checkpoints": kept})
    again, output = dataclasses.replace(job, training=training), Folder(str(tmp_path))
    folder = job.folder(output)
    left = ["checkpoints/step-000000002.ckpt", "checkpoints/.phreg-old", "curve-so-far.jsonl"]
    for path in [*left, "checkpoints/.phreg-young"]:
        folder.write(path, b"")
    os.utime(folder.local_path / "checkpoints/.phreg-old", (0, 0))
    assert train_student(again, output).reused
    assert [(folder.local_path / path).exists() for path in left] == [kept] * 3
    assert (folder.local_path / "checkpoints/.phreg-young").exists()
    assert outcome(job, output) == outcome(job, undisturbed)


def test_a_checkpoint_that_cannot_be_removed_costs_no_student(
    job: StudentJob,
    undisturbed: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(self: Folder, path: str) -> None:
        raise AccessDeniedError(f"Cannot remove {path}")

    shutil.copytree(undisturbed.local_path, tmp_path, dirs_exist_ok=True)
    output = Folder(str(tmp_path))
    job.folder(output).write("checkpoints/step-000000002.ckpt", b"")
    monkeypatch.setattr(Folder, "remove", refuse)
    with caplog.at_level(logging.WARNING):
        assert train_student(job, output).reused
    assert "student a are left: Cannot remove checkpoints/step-000000002.ckpt" in caplog.text


@pytest.mark.parametrize(
    ("lost", "kept"),
    [
        ("model/model.safetensors", False),
        ("model/model.safetensors", True),
        ("curve.jsonl", True),
        ("result.json", True),
    ],
)
def test_a_lost_file_is_written_again(
    lost: str, kept: bool, job: StudentJob, undisturbed: Folder, tmp_path: Path
) -> None:
    """From the last checkpoint, where that was to be kept; else the student is trained anew."""
    training = job.training.model_copy(update={"keep_checkpoints": kept})
    again, output = dataclasses.replace(job, training=training), Folder(str(tmp_path))
    assert again.digest == job.digest
    train_student(again, output)
    again.folder(output).remove(lost)
    assert finished_report(again, output) is None
    report = train_student(again, output)
    assert (report.reused, report.resumed_from) == (False, 22 if kept else None)
    assert outcome(again, output) == outcome(job, undisturbed)


def test_only_what_is_unlocked_changes(job: StudentJob, undisturbed: Folder) -> None:
    student = load_student(job.folder(undisturbed).url_of("model"))
    teacher = load_backbone(job.teacher.model)
    before = dict(teacher.vit.named_parameters())
    same = {
        name: before[name].shape == after.shape and torch.equal(before[name], after)
        for name, after in student.vit.named_parameters()
        if name in before and name != "cls_token"  # its positional embedding is folded in
    }
    learnt = {name for name, equal in same.items() if not equal}
    assert "pos_embed" in learnt
    assert {"patch_embed.proj.weight", "blocks.1.attn.qkv.weight"} <= learnt
    assert {"blocks.0.attn.qkv.weight", "norm.weight"} & learnt == set()


def test_a_clip_student_takes_the_value_read_out(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip")
    train_student(job, Folder(str(tmp_path)))
    assert load_student(job.folder(Folder(str(tmp_path))).url_of("model")).read_out == "value"


@pytest.mark.parametrize("settings", [{"precision": "bfloat16"}, {"clip_gradient": None}])
def test_options_change_the_course_a_little(
    settings: dict, job: StudentJob, undisturbed: Folder, tmp_path: Path
) -> None:
    reference = finished_report(job, undisturbed)
    assert reference is not None
    other = dataclasses.replace(job, student=job.student.model_copy(update=settings))
    report: StudentReport = train_student(other, Folder(str(tmp_path)))
    assert report.validation_loss != reference.validation_loss
    assert report.validation_loss["total"] == pytest.approx(reference.validation_loss["total"], rel=0.2)


def test_a_loss_that_is_not_finite_stops_with_step_and_samples(job: StudentJob, tmp_path: Path) -> None:
    wild = {"learning_rate": 1e30, "final_learning_rate": 1e30}
    other = dataclasses.replace(
        job,
        student=job.student.model_copy(update=wild),
        training=job.training.model_copy(update={"max_skipped_steps": 0}),
    )
    with pytest.raises(TrainingError, match=r"not finite at step 2\b[\s\S]*photos-00\d_\d{4}"):
        train_student(other, Folder(str(tmp_path)))


def test_of_two_runs_at_once_the_first_gives_the_result(job: StudentJob, tmp_path: Path) -> None:
    """The second is in the middle, and writes a checkpoint, when the first ends, and changes nothing of what
    that left."""
    output, files = Folder(str(tmp_path / "output")), {}
    first: list[StudentReport] = []

    def overtaken(progress: StudentProgress) -> None:
        if not first:
            target = job.folder(output).local_path / "checkpoints/step-000000001.ckpt"
            with temporary_file(target, b"half") as temporary:
                first.append(train_student(job, output))
                temporary.replace(target)
            files.update(outcome(job, output))
        assert outcome(job, output) == files

    report = train_student(job, output, on_progress=overtaken)
    assert report == dataclasses.replace(first[0], reused=True)
    assert outcome(job, output) == files
    assert checkpoint_steps(job.folder(output)) == []
