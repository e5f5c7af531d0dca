"""What a network makes of images on the way to its features."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from phreg.config.model import ReadOut
from phreg.models import Backbone, load_backbone
from tests.helpers import tiny_clip, tiny_dinov2


def watched(backbone: Backbone, height: int = 64, width: int = 64) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Patch tokens after each block, and features, of two random images."""
    images = random_images(height, width)
    blocks: list[torch.Tensor] = []
    with torch.no_grad():
        features = backbone.features(backbone.embed(images), blocks.append)
    assert torch.equal(features, backbone(images).flatten(2).transpose(1, 2)), "watching changes nothing"
    return blocks, features


def random_images(height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("vit", [tiny_dinov2(), tiny_clip(), tiny_dinov2(reg_tokens=3)])
def test_the_patch_tokens_after_each_block_are_those_of_timm(vit: VisionTransformer) -> None:
    blocks, _ = watched(load_backbone(vit))
    expected = vit.get_intermediate_layers(random_images(), n=2)
    assert len(blocks) == 2
    for found, wanted in zip(blocks, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("read_out", ["standard", "value", "naclip"])
def test_what_was_watched_last_becomes_the_features(read_out: ReadOut) -> None:
    backbone = load_backbone(tiny_clip(), read_out=read_out)
    blocks, features = watched(backbone, 48, 80)
    assert [block.shape for block in blocks] == [(2, 60, 32)] * 2
    with torch.no_grad():
        torch.testing.assert_close(backbone.vit.head(backbone.vit.norm(blocks[-1])), features)
    standard, _ = watched(load_backbone(tiny_clip()), 48, 80)
    assert torch.equal(blocks[0], standard[0])
    assert torch.equal(blocks[1], standard[1]) == (read_out == "standard")
