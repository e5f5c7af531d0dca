"""Artifact measures: what they count, and what must not change them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from phreg.errors import NonFiniteError
from phreg.evaluate import draw_shifts, look, target_cosines
from phreg.evaluate.measures import token_norms
from phreg.models import Backbone, load_backbone
from tests.helpers import tiny_clip, tiny_dinov2

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    features = torch.ones(1, 5, 4, 4)
    features[0, 2, 1, 1] = value
    with pytest.raises(NonFiniteError):
        token_norms(features.flatten(2).transpose(1, 2))
    with pytest.raises(NonFiniteError):
        target_cosines(torch.ones(1, 16, 5), features)
    with pytest.raises(NonFiniteError):
        target_cosines(features.flatten(2).transpose(1, 2), torch.ones(1, 5, 4, 4))
    backbone = load_backbone(tiny_dinov2(32))
    with pytest.raises(NonFiniteError):
        shift_cosines_of(backbone, torch.full((1, 3, 32, 32), value), torch.tensor([[0, 1]]))


def shift_cosines_of(backbone: Backbone, images: Tensor, shifts: Tensor) -> Tensor:
    return look(backbone, images, shifts).shift_cosines


def random_images(count: int, size: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("build", [tiny_dinov2, tiny_clip])
def test_shift_cosines_are_those_of_shifted_pixels(build: type) -> None:
    backbone = load_backbone(build(32))
    images = random_images(2)
    dy, dx = 1, -2
    with torch.no_grad():
        found = shift_cosines_of(backbone, images, torch.tensor([[dy, dx]]))
        shifted = ((1 - backbone.mean) / backbone.std)[None, :, None, None].expand_as(images).clone()
        shifted[:, :, :24, 16:] = images[:, :, 8:, :16]  # view[y, x] = crop[y + dy, x + dx]
        before, after = backbone(images), backbone(shifted)
    expected = torch.cosine_similarity(before[:, :, 1:, :2], after[:, :, :3, 2:], dim=1)
    torch.testing.assert_close(found, expected.flatten(1), rtol=0, atol=1e-5)


def per_patch_network() -> Backbone:
    """A network in which no patch sees another, nor where it is."""
    vit = tiny_dinov2(32)
    with torch.no_grad():
        vit.pos_embed.zero_()
        for block in vit.blocks:
            block.attn.proj.weight.zero_()
            block.attn.proj.bias.zero_()
    return load_backbone(vit)


def test_a_network_that_sees_only_content_is_shift_consistent_and_positions_spoil_it() -> None:
    backbone = per_patch_network()
    shifts = draw_shifts((4, 4), 6, 0.5, seed=0)
    with torch.no_grad():
        perfect = shift_cosines_of(backbone, random_images(2), shifts)
        torch.testing.assert_close(perfect, torch.ones_like(perfect))
        generator = torch.Generator().manual_seed(1)
        backbone.vit.pos_embed.copy_(torch.randn(backbone.vit.pos_embed.shape, generator=generator))
        assert shift_cosines_of(backbone, random_images(2), shifts).mean() < 0.95


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 8), SEEDS)
def test_every_patch_that_a_shifted_view_sees_is_compared(images: int, count: int, seed: int) -> None:
    backbone = per_patch_network()
    shifts = draw_shifts((4, 4), count, 0.5, seed)
    visible = sum((4 - abs(dy)) * (4 - abs(dx)) for dy, dx in shifts.tolist())
    with torch.no_grad():
        assert shift_cosines_of(backbone, random_images(images), shifts).shape == (images, visible)


def test_shift_cosines_of_an_image_do_not_depend_on_its_batch() -> None:
    backbone = load_backbone(tiny_dinov2(32))
    shifts = draw_shifts((4, 4), 4, 0.3, seed=0)
    images = random_images(3)
    with torch.no_grad():
        together = shift_cosines_of(backbone, images, shifts)
        alone = torch.cat([shift_cosines_of(backbone, image[None], shifts) for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_target_cosines_match_patch_with_patch(seed: int) -> None:
    features = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(seed))
    target = features.flatten(2).transpose(1, 2).clone()
    torch.testing.assert_close(target_cosines(target * 3, features), torch.ones(2, 12))
    torch.testing.assert_close(target_cosines(-target, features), -torch.ones(2, 12))
    target[1, 7] *= -1  # row 1, column 3
    found = target_cosines(target, features).reshape(2, 3, 4)
    assert (found < 0).nonzero().tolist() == [[1, 1, 3]]
