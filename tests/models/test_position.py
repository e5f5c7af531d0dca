"""Positional embeddings at another size, in three ways."""

import json
import math
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional

from phreg.config.run import TargetConfig, TeacherConfig
from phreg.errors import ModelError
from phreg.generate import target_spec
from phreg.models import add_registers, hub_files, load_backbone, load_student
from phreg.models.position import resample_grid
from tests.helpers import randomised, tiny_dinov2

GRIDS = [(11, 6), (4, 4), (9, 8), (16, 21)]


def positions(side: int = 8, width: int = 12) -> Tensor:
    return torch.randn(1, side * side, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("image", [(88, 48), (32, 32), (128, 168)])
def test_timm_is_stock_timms_forward_at_another_size(image: tuple[int, int]) -> None:
    options = {"img_size": 64, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    made = "vit_small_patch14_dinov2"
    vit = randomised(lambda: timm.create_model(made, pretrained=False, **options), 0)
    stock = randomised(lambda: timm.create_model(made, pretrained=False, dynamic_img_size=True, **options), 0)
    images = torch.randn(1, 3, *image)
    with torch.no_grad():
        expected = stock.forward_features(images)[:, 1:]
    for backbone in (
        load_backbone(vit, pos_embed_resize="timm"),
        load_backbone(vit, pos_embed_resize="timm", image_size=image),
    ):
        torch.testing.assert_close(backbone(images).flatten(2).mT, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(load_backbone(vit)(images).flatten(2).mT, expected, atol=1e-3)


def by_hand(source: Tensor, new: int, step: float) -> Tensor:
    """Cubic convolution (a = -0.75) along the first axis: sample i of `new` lies at (i + 0.5) step - 0.5."""

    def weight(x: float) -> float:
        x, a = abs(x), -0.75
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    out = torch.zeros(new, *source.shape[1:], dtype=torch.float64)
    for i in range(new):
        place = (i + 0.5) * step - 0.5
        first = math.floor(place) - 1
        for near in range(first, first + 4):
            out[i] += weight(place - near) * source[min(max(near, 0), len(source) - 1)].double()
    return out


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("how", "offset"), [("paper", 0.0), ("dinov2", 0.1)])
def test_bicubic_without_antialiasing(how: str, offset: float, grid: tuple[int, int]) -> None:
    """DINOv2 scales by (h + 0.1) / side, and samples at steps of the inverse of that."""
    old = positions()
    image = old.reshape(8, 8, -1)
    rows = by_hand(image, grid[0], 8 / (grid[0] + offset))
    both = by_hand(rows.transpose(0, 1), grid[1], 8 / (grid[1] + offset)).transpose(0, 1)
    found = resample_grid(old, (8, 8), grid, how)
    torch.testing.assert_close(found[0].double(), both.flatten(0, 1), rtol=0, atol=2e-5)
    if grid == (8, 8):
        assert torch.equal(found, old)


@pytest.mark.parametrize("grid", GRIDS)
def test_dinov2_as_its_hub_code_describes_it(grid: tuple[int, int]) -> None:
    """interpolate_pos_encoding: the offset is added to the wanted sides, both are divided by the side there
    is, and torch is given these factors, without antialiasing; the class token's part is left as it is."""
    vit = tiny_dinov2()
    class_part, patch_part = vit.pos_embed[:, :1], vit.pos_embed[:, 1:]
    factors = tuple((side + 0.1) / math.sqrt(patch_part.shape[1]) for side in grid)
    square = patch_part.reshape(1, 8, 8, 32).permute(0, 3, 1, 2)
    wanted = functional.interpolate(square, scale_factor=factors, mode="bicubic", antialias=False)
    assert tuple(wanted.shape[-2:]) == grid
    expected = torch.cat([class_part, wanted.permute(0, 2, 3, 1).reshape(1, -1, 32)], 1)
    resized = load_backbone(
        vit, image_size=(grid[0] * 8, grid[1] * 8), pos_embed_resize="dinov2"
    ).vit.pos_embed
    if grid != (8, 8):
        assert torch.equal(resized, expected)


def test_dinov2_with_registers_is_as_timm() -> None:
    vit = tiny_dinov2(reg_tokens=4, no_embed_class=True)
    images = torch.randn(1, 3, 96, 80)
    dinov2, theirs = (load_backbone(vit, pos_embed_resize=how) for how in ("dinov2", "timm"))
    assert torch.equal(dinov2(images), theirs(images))
    assert dinov2.pos_embed_resize == "timm"


def test_a_student_keeps_its_teachers(tmp_path: Path) -> None:
    student = add_registers(load_backbone(tiny_dinov2(), image_size=80, pos_embed_resize="dinov2"), 2)
    for name, data in hub_files(student).items():
        (tmp_path / name).write_bytes(data)
    images = torch.randn(1, 3, 96, 96)
    for again in (load_student(str(tmp_path)), load_backbone(f"local-dir:{tmp_path}")):
        assert again.pos_embed_resize == "dinov2"
    assert torch.equal(load_student(str(tmp_path))(images), student(images))
    assert json.loads((tmp_path / "config.json").read_text())["phreg"]["pos_embed_resize"] == "dinov2"


def test_it_is_part_of_the_target_spec_unless_it_is_the_papers() -> None:
    teacher = TeacherConfig(model="timm/unused")
    specs = {
        how: target_spec(load_backbone(tiny_dinov2(), pos_embed_resize=how), teacher, TargetConfig(), 0)
        for how in (None, "paper", "timm", "dinov2")
    }
    assert "pos_embed_resize" not in json.loads(specs["paper"].to_json())
    assert specs[None].digest == specs["paper"].digest
    assert len({spec.digest for spec in specs.values()}) == 3
    for spec in specs.values():
        assert type(spec).from_json(spec.to_json(), spec.digest, "here") == spec


def test_an_unknown_way() -> None:
    with pytest.raises(ModelError, match="paper, timm, dinov2"):
        load_backbone(tiny_dinov2(), pos_embed_resize="bilinear")
