import dataclasses
from pathlib import Path

import pytest

from phreg.cache import TargetSpec, TargetStore
from phreg.distill.job import StudentJob
from phreg.distill.student import build_student, new_student
from phreg.errors import ModelError, TrainingError
from phreg.models import hub_files, load_backbone
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.helpers import tiny_dinov2


@pytest.fixture(scope="module", params=["dinov2", "clip"])
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    return make_job(tmp_path_factory.mktemp("world"), request.param)


def spec_of(job: StudentJob) -> TargetSpec:
    return TargetStore.open(Folder(job.cache_url), job.target_digest).spec


def test_read_out_registers_and_unlocking_follow_the_job(job: StudentJob) -> None:
    student = build_student(job, spec_of(job))
    assert student.read_out == ("value" if student.projects else "standard")
    assert student.vit.num_reg_tokens == 2
    unlocked = {name for name, parameter in student.vit.named_parameters() if parameter.requires_grad}
    assert {"reg_token", "pos_embed", "patch_embed.proj.weight", "blocks.1.attn.qkv.weight"} <= unlocked
    assert not [name for name in unlocked if name.startswith("blocks.0")]


def test_what_is_checked_before_a_run_is_what_is_trained(job: StudentJob) -> None:
    spec = spec_of(job)
    teacher = load_backbone(job.teacher.model, image_size=spec.image_size, mean=spec.mean, std=spec.std)
    checked, trained = new_student(teacher, job.student), build_student(job, spec)
    assert checked.read_out == trained.read_out
    assert checked.weights_digest() == trained.weights_digest()
    learning = [
        {name for name, parameter in student.vit.named_parameters() if parameter.requires_grad}
        for student in (checked, trained)
    ]
    assert learning[0] == learning[1]


def test_the_same_seed_gives_the_same_student(job: StudentJob) -> None:
    digests = {build_student(job, spec_of(job)).weights_digest() for _ in range(2)}
    other = dataclasses.replace(job, student=job.student.model_copy(update={"seed": 1}))
    assert len(digests | {build_student(other, spec_of(job)).weights_digest()}) == 2


def test_another_teacher_than_the_targets_one_is_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    for name, data in hub_files(load_backbone(tiny_dinov2(32, seed=9))).items():
        (tmp_path / "teacher" / name).write_bytes(data)
    with pytest.raises(TrainingError, match="not the network that made the targets"):
        build_student(job, spec_of(job))


def test_the_same_weights_in_another_network_are_refused(job: StudentJob) -> None:
    spec = spec_of(job)
    other = spec.teacher.model_copy(update={"architecture": "another"})
    with pytest.raises(TrainingError, match="in another"):
        build_student(job, spec.model_copy(update={"teacher": other}))


def test_targets_of_another_width_are_refused(job: StudentJob) -> None:
    with pytest.raises(TrainingError, match="7 channels"):
        build_student(job, spec_of(job).model_copy(update={"dim": 7}))


def test_a_name_that_unlocks_nothing_is_refused(job: StudentJob) -> None:
    other = dataclasses.replace(job, student=job.student.model_copy(update={"unlock": ("heads",)}))
    with pytest.raises(ModelError, match="heads"):
        build_student(other, spec_of(job))
