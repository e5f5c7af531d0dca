"""Steps without a finite loss: left out, counted, reported, and too many of them an error."""

import dataclasses
import json
import logging
from pathlib import Path

import pytest
import torch

from phreg.distill.curve import curve_from_jsonl
from phreg.distill.job import StudentJob
from phreg.distill.progress import StudentProgress
from phreg.distill.result import StudentReport, finished_report
from phreg.distill.skipped import NAMED, SkippedStep, SkippedSteps
from phreg.distill.trainer import train_student
from phreg.errors import TrainingError
from phreg.models import load_student
from phreg.storage import Folder
from tests.distill.jobs import make_job

HUGE = {0: (2,)}  # one of 18 crops, so one step in nine


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    return make_job(tmp_path_factory.mktemp("world"), huge=HUGE, epochs=3)


def limited(job: StudentJob, limit: int) -> StudentJob:
    return dataclasses.replace(job, training=job.training.model_copy(update={"max_skipped_steps": limit}))


@pytest.fixture(scope="module")
def output(job: StudentJob, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    output = Folder(str(tmp_path_factory.mktemp("output")))
    train_student(limited(job, 3), output)
    return output


def test_a_bad_sample_costs_its_steps_and_no_more(job: StudentJob, output: Folder) -> None:
    report = finished_report(job, output)
    assert report is not None
    skipped = report.skipped_steps
    assert (report.steps, skipped.count) == (27, 3)
    assert all("photos-000_0002" in step.samples for step in skipped.first)
    assert all(len(step.samples) == 2 for step in skipped.first)
    assert str(skipped) == f"3 steps skipped ({', '.join(str(step.step) for step in skipped.first)})"
    text = job.folder(output).read("curve.jsonl").decode()
    assert "NaN" not in text
    assert "Infinity" not in text
    trained = [point.step for point in curve_from_jsonl(text) if point.split == "train"]
    assert trained == sorted(set(range(1, 28)) - {step.step for step in skipped.first})
    student = load_student(job.folder(output).url_of("model"))
    assert all(torch.isfinite(weights).all() for weights in student.vit.state_dict().values())


def test_one_more_than_the_limit_ends_it(
    job: StudentJob, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[StudentProgress] = []
    with caplog.at_level(logging.WARNING), pytest.raises(TrainingError) as error:
        train_student(limited(job, 2), Folder(str(tmp_path)), on_progress=told.append)
    assert "at most 2 steps" in error.value.expected
    assert "photos-000_0002" in error.value.found
    assert "3 steps skipped" in error.value.found
    assert caplog.text.count("skipped step") == 3
    assert [progress.skipped for progress in told][-1] == 2
    assert all(progress.loss == progress.loss for progress in told[-5:])
    assert finished_report(job, Folder(str(tmp_path))) is None


def test_no_skipped_step_is_allowed_where_the_limit_is_none(job: StudentJob, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"not finite at step \d+\b[\s\S]*at most 0[\s\S]*photos-000_0002"
    ):
        train_student(limited(job, 0), Folder(str(tmp_path)))


@pytest.mark.parametrize("limit", [2, 3])
def test_an_interrupted_run_counts_and_decides_alike(
    limit: int, job: StudentJob, output: Folder, tmp_path: Path
) -> None:
    def interrupt(progress: StudentProgress) -> None:
        if progress.skipped == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        train_student(limited(job, limit), Folder(str(tmp_path)), on_progress=interrupt)
    if limit == 2:
        with pytest.raises(TrainingError, match="3 steps skipped"):
            train_student(limited(job, limit), Folder(str(tmp_path)))
        return
    report = train_student(limited(job, limit), Folder(str(tmp_path)))
    undisturbed = finished_report(job, output)
    assert undisturbed is not None
    assert report.skipped_steps == undisturbed.skipped_steps
    for path in ("model/model.safetensors", "curve.jsonl"):
        assert job.folder(Folder(str(tmp_path))).read(path) == job.folder(output).read(path)


def test_a_student_that_learnt_nothing_is_none(tmp_path: Path) -> None:
    job = make_job(tmp_path, shards=1, images=2, huge={0: (0, 1)}, epochs=4)
    with pytest.raises(TrainingError, match="learnt nothing"):
        train_student(job, Folder(str(tmp_path)))
    assert finished_report(job, Folder(str(tmp_path))) is None


def test_a_student_whose_held_out_loss_is_not_finite_is_not_published(tmp_path: Path) -> None:
    job = make_job(tmp_path, huge={3: (4,)})
    with pytest.raises(TrainingError, match=r"held-out crops[\s\S]*photos-003_0004"):
        train_student(job, Folder(str(tmp_path)))
    assert finished_report(job, Folder(str(tmp_path))) is None
    assert not job.folder(Folder(str(tmp_path))).list("model")


def test_the_setting_is_no_part_of_the_student(job: StudentJob) -> None:
    assert limited(job, 0).digest == limited(job, 7).digest


def test_only_the_first_are_named() -> None:
    skipped = SkippedSteps()
    for step in range(1, 100):
        skipped += SkippedStep(step, "loss nan", ("a",))
    assert (skipped.count, len(skipped.first)) == (99, NAMED)
    assert str(skipped) == "99 steps skipped (1, 2, 3, 4, 5, ...)"
    assert SkippedSteps.from_plain(json.loads(json.dumps(skipped.to_plain()))) == skipped
    report = StudentReport("a", "d", False, 100, None, 1.0, {}, {}, "/", skipped)
    assert StudentReport.from_plain(json.loads(json.dumps(report.to_plain())), report.url) == report
