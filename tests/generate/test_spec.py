"""The spec holds what decides a target's value, and nothing else."""

from pathlib import Path

import pytest

from phreg.config.denoisers import RefinedViewsConfig, ViewsConfig
from phreg.config.run import TargetConfig, TeacherConfig
from phreg.errors import ConfigError, SpecMismatchError
from phreg.generate import check_teacher, target_spec
from phreg.models import load_backbone, load_teacher
from tests.generate.worlds import SIZE, make_world
from tests.helpers import tiny_clip, tiny_dinov2

TEACHER, TARGET = TeacherConfig(model="timm/any"), TargetConfig()


def test_a_loaded_teacher_is_the_one_of_its_spec_wherever_it_lay(tmp_path: Path) -> None:
    here, there = make_world(tmp_path / "a"), make_world(tmp_path / "b")
    assert here.spec == there.spec
    check_teacher(load_teacher(there.teacher), here.spec)


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (lambda: load_backbone(tiny_dinov2(SIZE, seed=1)), "teacher"),
        (lambda: load_backbone(tiny_dinov2(SIZE), read_out="value"), "read_out"),
        (lambda: load_backbone(tiny_dinov2(SIZE), image_size=64), "image_size"),
        (lambda: load_backbone(tiny_dinov2(SIZE), mean=(0.5, 0.5, 0.5)), "mean"),
        (lambda: load_backbone(tiny_clip(SIZE)), "dim"),
    ],
)
def test_another_teacher_has_another_spec_and_is_refused(tmp_path: Path, other, field: str) -> None:
    spec = make_world(tmp_path).spec
    teacher = other()
    assert target_spec(teacher, TEACHER, TARGET, 0).digest != spec.digest
    with pytest.raises(SpecMismatchError, match=field):
        check_teacher(teacher, spec)


@pytest.mark.parametrize(
    ("teacher", "target", "seed"),
    [
        ({"precision": "bfloat16"}, {}, 0),
        ({}, {"denoiser": ViewsConfig(views=5)}, 0),
        ({}, {"denoiser": ViewsConfig(max_shift=0.2)}, 0),
        ({}, {"denoiser": RefinedViewsConfig()}, 0),
        ({}, {"denoiser": RefinedViewsConfig(combine="median")}, 0),
        ({}, {"crops_per_image": 2}, 0),
        ({}, {"min_crop": 0.4}, 0),
        ({}, {"encoding": "int8"}, 0),
        ({}, {}, 1),
    ],
)
def test_every_setting_that_changes_targets_changes_the_digest(teacher, target, seed: int) -> None:
    backbone = load_backbone(tiny_dinov2(SIZE))
    plain = target_spec(backbone, TEACHER, TARGET, 0)
    changed = target_spec(
        backbone, TEACHER.model_copy(update=teacher), TARGET.model_copy(update=target), seed
    )
    assert changed.digest != plain.digest


def test_a_teacher_with_a_wide_input_is_refused() -> None:
    wide = load_backbone(tiny_dinov2(SIZE), image_size=(32, 64))
    with pytest.raises(ConfigError, match="32 x 64"):
        target_spec(wide, TEACHER, TARGET, 0)
