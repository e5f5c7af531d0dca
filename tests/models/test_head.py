"""A linear head is CLIP's projection or a classifier; timm gives both one name and one shape."""

import logging
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from timm.models import save_for_hf
from torch import nn

from phreg.config.run import TeacherConfig
from phreg.errors import CheckpointError, ModelError
from phreg.models import add_registers, hub_files, load_backbone, load_student, load_teacher
from tests.helpers import save_tiny_open_clip, tiny_clip

CLIP = "vit_base_patch16_clip_224"


def hub_directory(
    path: Path, architecture: str = CLIP, tag: str = "", classes: int = 512, biased: bool = False, **args: int
) -> str:
    """A network of one block as timm itself writes it."""
    vit = timm.create_model(architecture, num_classes=classes, depth=1, **args)
    vit.pretrained_cfg = vit.pretrained_cfg | {"tag": tag}
    if biased:
        nn.init.normal_(vit.head.bias)
    save_for_hf(vit, path, safe_serialization=True)
    return f"local-dir:{path}"


@pytest.mark.parametrize(
    ("architecture", "tag", "classes", "biased", "width"),
    [
        (CLIP, "openai", 512, False, 512),
        (CLIP, "", 512, False, 512),
        (CLIP, "openai_ft_in1k", 1000, True, 768),
        (CLIP, "laion2b_ft_in12k", 11821, True, 768),
        (CLIP, "laion2b_ft_in12k_in1k", 512, False, 512),  # timm's default tag, kept by a network made anew
        (CLIP, "", 1000, False, 768),
        (CLIP, "openai", 37, True, 768),  # a user's own fine-tune inherits the tag
        (CLIP, "openai", 37, False, 768),  # and may have no bias, or not be trained yet
        (CLIP, "openai", 0, False, 768),  # its trunk alone
        ("vit_base_patch16_xp_224", "", 512, False, 768),
        ("vit_base_patch16_xp_224", "untrained", 1000, False, 768),
    ],
)
def test_directories_in_timms_hub_layout(
    architecture: str, tag: str, classes: int, biased: bool, width: int, tmp_path: Path
) -> None:
    model = hub_directory(tmp_path, architecture, tag, classes, biased)
    backbone = load_backbone(model, image_size=32)
    assert backbone.out_dim == width
    assert backbone(torch.zeros(1, 3, 32, 32)).shape == (1, width, 2, 2)


@pytest.mark.parametrize("args", [{}, {"embed_dim": 96, "num_heads": 2}])
def test_what_cannot_be_told_is_asked(args: dict[str, int], tmp_path: Path) -> None:
    """A bias on a head as wide as CLIP's projection: 512 classes, or a projection that was trained on."""
    model = hub_directory(tmp_path, classes=512, biased=True, **args)
    with pytest.raises(ModelError, match=r"512 outputs with a bias(?s:.)*`head: classifier`"):
        load_backbone(model)
    assert load_backbone(model, head="classifier").out_dim == args.get("embed_dim", 768)
    assert load_teacher(TeacherConfig(model=model, head="projection")).out_dim == 512


@pytest.mark.parametrize(
    ("classes", "head", "width"),
    [(16, None, 16), (1000, None, 32), (9, None, 32), (9, "projection", 9), (16, "classifier", 32)],
)
def test_a_fine_tuned_head_in_a_towers_place(
    classes: int, head: str | None, width: int, tmp_path: Path
) -> None:
    """Named by open_clip, the linear head of weights of one's own is its projection only at its width."""
    model, weights = save_tiny_open_clip(tmp_path / "clip"), str(tmp_path / "weights.safetensors")
    vit = load_backbone(model).vit
    vit.reset_classifier(classes)
    safetensors.torch.save_file(vit.state_dict(), weights)
    assert load_backbone(model, weights, head=head).out_dim == width


def test_a_head_that_is_not_there_is_no_projection(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no projection"):
        load_backbone(hub_directory(tmp_path, classes=0), head="projection")


def test_a_students_projection_stays_one_whatever_was_trained(tmp_path: Path) -> None:
    student = add_registers(load_backbone(tiny_clip()), 2)
    assert student.vit.head.bias.any()
    for name, data in hub_files(student).items():
        (tmp_path / name).write_bytes(data)
    assert load_student(str(tmp_path)).out_dim == 16
    assert load_backbone(f"local-dir:{tmp_path}").out_dim == 16


def test_a_foreign_directory_with_a_classifier_as_a_student(tmp_path: Path) -> None:
    model = hub_directory(tmp_path, tag="openai_ft_in1k", classes=1000, biased=True)
    assert load_student(model.removeprefix("local-dir:")).out_dim == 768


def test_a_network_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "phreg"):
        assert load_backbone(tiny_clip()).out_dim == 16
    assert "head='classifier'" in caplog.text
    assert load_backbone(tiny_clip(), head="classifier").out_dim == 32
    assert load_backbone(tiny_clip(num_classes=1000)).out_dim == 32


def test_a_checkpoint_of_a_fine_tuned_clip_may_lack_its_head(tmp_path: Path) -> None:
    vit = timm.create_model(CLIP, num_classes=0)
    path = str(tmp_path / "weights.safetensors")
    safetensors.torch.save_file(vit.state_dict(), path)
    assert load_backbone(f"timm/{CLIP}.openai_ft_in1k", path).out_dim == 768
    assert load_backbone(f"timm/{CLIP}", path, head="classifier").out_dim == 768
    with pytest.raises(CheckpointError, match="`head: classifier`"):
        load_backbone(f"timm/{CLIP}", path)
