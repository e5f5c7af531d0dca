"""A look at images: the stages of real networks, and artifacts planted in them at known places."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from phreg.errors import NonFiniteError
from phreg.evaluate import Look, draw_shifts, look, telling_block
from phreg.models import Backbone, load_backbone
from tests.evaluate.planted import Planted
from tests.helpers import tiny_clip, tiny_dinov2

PLACES = [5, 17, 40, 58]
GRID = (8, 8)
SHIFTS = draw_shifts(GRID, 8, 0.15, seed=0)


def random_images(count: int = 2, size: int = 64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def see(backbone: Backbone, images: Tensor, shifts: Tensor = SHIFTS) -> Look:
    with torch.no_grad():
        return look(backbone, images, shifts)


@pytest.mark.parametrize("build", [tiny_dinov2, tiny_clip, lambda: tiny_dinov2(reg_tokens=3)])
def test_the_stages_are_the_blocks_and_then_the_features(build: Callable) -> None:
    backbone, images = load_backbone(build()), random_images()
    seen = see(backbone, images)
    with torch.no_grad():
        features = backbone(images)
        blocks = backbone.vit.get_intermediate_layers(images, n=2, reshape=True)
    torch.testing.assert_close(seen.features, features, rtol=0, atol=1e-5)
    for stage, tokens in enumerate([*blocks, features]):
        torch.testing.assert_close(seen.norms[:, stage].float(), tokens.norm(dim=1), rtol=1e-5, atol=1e-4)
    assert seen.artifacts.shape == seen.norms.shape == (2, 3, *GRID)
    assert seen.artifact_rates.shape == seen.norm_ratios.shape == (2, 3)


@pytest.mark.parametrize("build", [tiny_dinov2, tiny_clip, lambda: tiny_dinov2(reg_tokens=3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_planted_artifacts_are_found_where_they_are_and_nowhere_else(
    build: Callable, dtype: torch.dtype
) -> None:
    backbone = load_backbone(build()).to(dtype)
    images = random_images().to(dtype)
    clean = see(backbone, images)
    assert not clean.artifacts.any()
    blocks = backbone.vit.blocks
    blocks[-1] = Planted(blocks[-1], PLACES, backbone.vit.num_prefix_tokens)
    found = see(backbone, images).artifacts
    assert not found[:, 0].any(), "the first block is as it was"
    for image in found[:, 1].flatten(1):
        assert image.nonzero().flatten().tolist() == PLACES
    assert not found[:, 2].any(), "the final norm hides them"


def test_the_block_that_tells_is_the_one_with_most_artifacts_or_the_last() -> None:
    backbone = load_backbone(tiny_dinov2(depth=3))
    assert telling_block([see(backbone, random_images())]) == 2
    backbone.vit.blocks[0] = Planted(backbone.vit.blocks[0], PLACES, 1)
    assert telling_block([see(backbone, random_images())]) == 0


def per_patch_network() -> Backbone:
    """No patch sees another, nor where it is, and norms grow with what a patch shows."""
    vit = tiny_dinov2(64, init_values=None)
    with torch.no_grad():
        vit.pos_embed.zero_()
        for block in vit.blocks:
            block.attn.proj.weight.zero_()
            block.attn.proj.bias.zero_()
    return load_backbone(vit)


@pytest.mark.parametrize("size", [8, 16, 24])
def test_a_bright_object_is_no_artifact_however_large(size: int) -> None:
    backbone, images = per_patch_network(), 0.2 * random_images()
    for side in (1, 2, 3):
        bright = images.clone()
        bright[:, :, 16 : 16 + size, 24 : 24 + size] *= 200 * side
        seen = see(backbone, bright)
        assert (seen.norm_ratios[:, 1] > 4).all(), "the object is far longer than the rest"
        assert not seen.artifacts.any()


@pytest.mark.parametrize("build", [tiny_dinov2, tiny_clip])
def test_a_constant_image_has_none(build: Callable) -> None:
    for value in (0.0, 1.0, -3.0):
        assert not see(load_backbone(build()), torch.full((1, 3, 64, 64), value)).artifacts.any()


def test_a_grid_of_two_by_two() -> None:
    backbone = load_backbone(tiny_dinov2(16))
    backbone.vit.blocks[-1] = Planted(backbone.vit.blocks[-1], [2], 1)
    found = see(backbone, random_images(size=16), draw_shifts((2, 2), 8, 0.15, seed=0)).artifacts
    assert found[:, 1].flatten(1).nonzero()[:, 1].tolist() == [2, 2]


def test_it_does_not_depend_on_the_batch() -> None:
    backbone, images = load_backbone(tiny_dinov2()), random_images(3)
    backbone.vit.blocks[0] = Planted(backbone.vit.blocks[0], PLACES, 1)
    together, alone = see(backbone, images), [see(backbone, image[None]) for image in images]
    for part, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(part, torch.cat(parts), rtol=1e-4, atol=1e-5)


def test_tokens_that_are_not_finite_before_the_norm_are_refused() -> None:
    backbone = load_backbone(tiny_dinov2())
    backbone.vit.blocks[0] = Planted(backbone.vit.blocks[0], [5], 1, factor=float("inf"))
    with pytest.raises(NonFiniteError):
        see(backbone, random_images())
