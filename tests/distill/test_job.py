import dataclasses
from pathlib import Path
from typing import Any

import pytest

from phreg.config.run import StudentConfig, TeacherConfig, TrainingConfig
from phreg.distill.job import ShardRef, StudentJob
from phreg.storage import Folder

JOB = StudentJob(
    student=StudentConfig(name="a", targets="denoised"),
    teacher=TeacherConfig(model="timm/vit_small_patch14_dinov2", checkpoint="s3://here/weights"),
    training=TrainingConfig(),
    cache_url="s3://here/cache",
    target_digest="1" * 64,
    train=(ShardRef("photos-0", "s3://here/photos-0.tar", "2" * 64),),
    validation=(ShardRef("photos-1", "s3://here/photos-1.tar", "3" * 64),),
)


def changed(part: str, **update: Any) -> StudentJob:
    return dataclasses.replace(JOB, **{part: getattr(JOB, part).model_copy(update=update)})


@pytest.mark.parametrize(
    "other",
    [
        changed("student", registers=4),
        changed("student", seed=1),
        changed("student", unlock=("registers",)),
        changed("student", epochs=2.0),
        changed("student", weigh_by_certainty=True),
        changed("teacher", model="timm/vit_base_patch14_dinov2"),
        changed("training", workers=2),
        changed("training", shuffle_shards=1),
        dataclasses.replace(JOB, target_digest="4" * 64),
        dataclasses.replace(JOB, train=(ShardRef("photos-0", JOB.train[0].url, "5" * 64),)),
        dataclasses.replace(JOB, train=(*JOB.train, *JOB.validation)),
    ],
)
def test_what_changes_the_weights_changes_the_digest(other: StudentJob) -> None:
    assert other.digest != JOB.digest


def test_the_digest_stays_what_it_was() -> None:
    """A change here trains every finished student anew: raise `FORMAT_VERSION` if it must be."""
    assert JOB.digest == "a112726c3dc1a7a81db4983c7a321094504c195cca2dd04c3fd0a51c23b3fb16"


@pytest.mark.parametrize(
    "other",
    [
        changed("student", name="b"),
        changed("student", targets="other-name-of-the-same"),
        changed("teacher", checkpoint="file:///elsewhere"),
        JOB.with_absolute_paths(),
        changed("training", checkpoint_every=1, validate_every=1, max_failures=0, gpus_per_worker=1.0),
        dataclasses.replace(JOB, cache_url="/elsewhere"),
        dataclasses.replace(JOB, train=(ShardRef("photos-0", "/elsewhere/photos-0.tar", "2" * 64),)),
    ],
)
def test_names_and_places_do_not(other: StudentJob) -> None:
    assert other.digest == JOB.digest


def test_each_job_has_its_folder() -> None:
    assert JOB.folder(Folder("/out")).url == f"/out/students/{JOB.digest}"


def test_a_teacher_saved_elsewhere_is_the_same() -> None:
    here, there = (changed("teacher", model=f"local-dir:{path}") for path in ("/here", "s3://there/dir"))
    assert here.digest == there.digest != JOB.digest


def test_relative_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    job = dataclasses.replace(
        changed("teacher", model="local-dir:teacher", checkpoint="weights.pt"),
        cache_url="cache",
        train=(ShardRef("photos-0", "photos-0.tar", "2" * 64),),
    )
    absolute = job.with_absolute_paths()
    assert absolute.teacher.model == f"local-dir:{tmp_path}/teacher"
    assert absolute.teacher.checkpoint == f"{tmp_path}/weights.pt"
    assert (absolute.cache_url, absolute.train[0].url) == (f"{tmp_path}/cache", f"{tmp_path}/photos-0.tar")
    assert absolute.validation == JOB.validation
    assert absolute.digest == job.digest
