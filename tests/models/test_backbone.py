"""What a network makes of images on the way: equal to plain timm's, and its features those of `forward`."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from phreg.models import Backbone, load_backbone
from phreg.section import ReadOut
from tests.helpers import tiny_clip, tiny_dinov2


def random_images(height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("vit", [tiny_dinov2(), tiny_clip(), tiny_dinov2(reg_tokens=3)])
def test_a_trace_has_the_patch_tokens_that_timm_has_after_each_block(vit: VisionTransformer) -> None:
    backbone, images = load_backbone(vit), random_images()
    with torch.no_grad():
        trace = backbone.trace(images)
        expected = vit.get_intermediate_layers(images, n=2, reshape=True)
        torch.testing.assert_close(trace.features, backbone(images), rtol=0, atol=0)
    assert len(trace.blocks) == 2
    for found, wanted in zip(trace.blocks, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("read_out", ["standard", "value", "naclip"])
def test_a_read_out_changes_the_features_of_a_trace_and_not_its_blocks(read_out: ReadOut) -> None:
    plain, other = (load_backbone(tiny_clip(), read_out=r) for r in ("standard", read_out))
    images = random_images(48, 80)
    with torch.no_grad():
        trace = other.trace(images)
        assert torch.equal(trace.features, other(images))
        assert all(map(torch.equal, trace.blocks, plain.trace(images).blocks))
    assert trace.blocks[0].shape == (2, 32, 6, 10)


def test_the_final_norm_of_the_last_block_gives_the_features() -> None:
    backbone: Backbone = load_backbone(tiny_clip())
    with torch.no_grad():
        trace = backbone.trace(random_images())
        last = trace.blocks[-1].flatten(2).transpose(1, 2)
        features = backbone.vit.head(backbone.vit.norm(last)).transpose(1, 2)
    torch.testing.assert_close(trace.features.flatten(2), features, rtol=0, atol=1e-6)
