import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from phreg.config.run import StudentConfig
from phreg.distill.student import new_student
from phreg.errors import ModelError
from phreg.models import add_registers, load_backbone
from phreg.models.read_outs import READ_OUTS
from phreg.models.student import _fold_prefix_positions
from tests.helpers import tiny_clip, tiny_dinov2


@pytest.mark.parametrize("vit", [tiny_dinov2(), tiny_clip(), tiny_dinov2(reg_tokens=3)])
def test_folding_prefix_positions_changes_nothing(vit: VisionTransformer) -> None:
    images = torch.randn(2, 3, 64, 64)
    before = load_backbone(vit)(images)
    folded = copy.deepcopy(vit)
    _fold_prefix_positions(folded)
    torch.testing.assert_close(load_backbone(folded)(images), before, rtol=0, atol=1e-5)
    assert folded.no_embed_class
    assert folded.pos_embed.shape[1] == 64


@pytest.mark.parametrize(
    ("vit", "old"),
    [(tiny_dinov2(), 0), (tiny_dinov2(reg_tokens=3), 3), (tiny_dinov2(reg_tokens=3, no_embed_class=True), 3)],
)
def test_registers_are_added_to_those_there(vit: VisionTransformer, old: int) -> None:
    student = add_registers(load_backbone(vit), 5)
    assert student.vit.reg_token.shape == (1, old + 5, 32)
    assert student.vit.num_prefix_tokens == 1 + old + 5
    assert student(torch.randn(1, 3, 64, 64)).shape == (1, 32, 8, 8)


def test_model_without_class_token() -> None:
    vit = tiny_dinov2(class_token=False, global_pool="avg")
    student = add_registers(load_backbone(vit), 4)
    assert student.vit.num_prefix_tokens == 4
    assert student(torch.randn(1, 3, 64, 64)).shape == (1, 32, 8, 8)


def test_start_values() -> None:
    wide = load_backbone(tiny_dinov2(embed_dim=256))
    tokens = add_registers(wide, 64).vit.reg_token
    assert tokens.var().item() == pytest.approx(1 / 256, rel=0.1)
    assert tokens.mean().abs().item() < 0.005
    assert torch.equal(tokens, add_registers(wide, 64).vit.reg_token)
    assert not torch.equal(tokens, add_registers(wide, 64, seed=1).vit.reg_token)


def test_registers_reach_the_patches() -> None:
    student = add_registers(load_backbone(tiny_dinov2()), 2)
    images = torch.randn(1, 3, 64, 64)
    before = student(images)
    student.vit.reg_token.data += 1
    assert not torch.allclose(student(images), before)


def test_papers_choice_of_what_learns() -> None:
    student = add_registers(load_backbone(tiny_dinov2()), 2).unlock()
    learning = {name for name, p in student.vit.named_parameters() if p.requires_grad}
    last = {f"blocks.1.{name}" for name, _ in student.vit.blocks[-1].named_parameters()}
    embedding = {"patch_embed.proj.weight", "patch_embed.proj.bias"}
    assert learning == {"reg_token", "pos_embed"} | embedding | last


def test_unlock_again_replaces_and_takes_patterns() -> None:
    student = add_registers(load_backbone(tiny_dinov2()), 2).unlock().unlock(["registers", "blocks.0.norm*"])
    learning = {name for name, p in student.vit.named_parameters() if p.requires_grad}
    assert learning == {"reg_token"} | {f"blocks.0.norm{i}.{p}" for i in (1, 2) for p in ("weight", "bias")}
    with pytest.raises(ModelError, match=r"'blocks\.9\.\*'"):
        student.unlock(["blocks.9.*"])


def test_teacher_is_untouched_by_its_student() -> None:
    backbone = load_backbone(tiny_dinov2())
    digest = backbone.weights_digest()
    student = add_registers(backbone, 2).unlock(["*"])
    student(torch.randn(1, 3, 64, 64)).sum().backward()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    assert backbone.weights_digest() == digest


@pytest.mark.parametrize("registers", [0, -1])
def test_no_registers_is_refused(registers: int) -> None:
    with pytest.raises(ModelError, match="at least 1 register"):
        add_registers(load_backbone(tiny_dinov2()), registers)


@pytest.mark.parametrize("teacher", READ_OUTS)
@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (tiny_clip, "value"),
        (tiny_dinov2, "standard"),
        (partial(tiny_clip, num_classes=0), "standard"),  # normalised before its first block, but no CLIP
    ],
)
def test_the_default_read_out_is_the_papers_whatever_the_teacher_s(
    teacher: str, build: Callable[[], VisionTransformer], expected: str
) -> None:
    backbone = load_backbone(build(), read_out=teacher)
    config = StudentConfig(name="a", targets="raw", registers=2)
    assert add_registers(backbone, 2).read_out == expected
    assert new_student(backbone, config).read_out == expected
    named = config.model_copy(update={"read_out": "standard"})
    assert add_registers(backbone, 2, read_out="standard").read_out == "standard"
    assert new_student(backbone, named).read_out == "standard"


@pytest.mark.parametrize("vit", [tiny_dinov2(), tiny_clip()])
def test_without_registers_it_is_the_teacher_in_the_students_layout(vit: VisionTransformer) -> None:
    images, backbone = torch.randn(2, 3, 64, 64), load_backbone(vit)
    student = add_registers(backbone, None, read_out="standard").unlock()
    assert student.vit.num_prefix_tokens == 1
    assert student.vit.no_embed_class
    torch.testing.assert_close(student(images), backbone(images), rtol=0, atol=1e-5)
    assert {name for name, p in student.vit.named_parameters() if p.requires_grad} >= {"pos_embed"}
    with pytest.raises(ModelError, match="Nothing would learn"):
        student.unlock(["registers"])
