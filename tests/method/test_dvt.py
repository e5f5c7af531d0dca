"""`dvt` on a network whose content and artifact are known; and a target is the same wherever it is made."""

import pytest
import torch
from torch import Tensor

from phreg.config.denoisers import DvtConfig, parse_denoiser
from phreg.errors import ConfigError, NonFiniteError
from phreg.method.denoising import Denoising, calibrate, denoise, denoiser_of
from phreg.method.dvt import TOKENS_PER_STEP, Dvt
from phreg.method.views import Views, sample_views, stack_views
from phreg.models import Backbone, load_backbone
from tests.helpers import tiny_dinov2
from tests.method.loud import images

QUICK = DvtConfig(views=32)


class Stained(Backbone):
    """Each patch's feature is a linear map of the patch, alike mirrored or not, and a stain of its place."""

    def __init__(self) -> None:
        backbone = load_backbone(tiny_dinov2())
        super().__init__(backbone.vit, "standard", backbone.mean, backbone.std)
        kernel = self.vit.patch_embed.proj.weight
        with torch.no_grad():
            kernel.copy_(kernel + kernel.flip(-1))
            kernel /= self.embed(images()).std()
        stain = torch.randn(64, self.out_dim, generator=torch.Generator().manual_seed(5))
        self.stain = stain - stain.mean(0)  # what is alike in all places is content

    def features(self, tokens: Tensor, watch: object = None) -> Tensor:
        return tokens.flatten(1, 2) + self.stain


def error(found: Tensor, backbone: Backbone, of: Tensor) -> float:
    return float((found - backbone.embed(of).permute(0, 3, 1, 2)).square().mean().sqrt())


@torch.no_grad()
def test_content_is_told_from_a_stain() -> None:
    """Less than a quarter of the stain is left, and less than the mean over the same views leaves."""
    backbone, image = Stained(), images(1)
    raw = error(backbone(image), backbone, image)
    mean = {"method": "views", "views": QUICK.views, "max_shift": QUICK.max_shift}
    left = error(denoise(backbone, image, method=QUICK), backbone, image)
    assert raw == pytest.approx(1, abs=0.05)
    assert left < raw / 4
    assert left < error(denoise(backbone, image, method=mean), backbone, image)


def test_a_target_is_the_same_in_any_batch_mode_and_nearly_with_rounding() -> None:
    backbone, pair = Stained(), images(2)
    views = stack_views([sample_views(8, 8, 0.5, seed) for seed in range(2)])
    config = DvtConfig(views=8, steps=60)
    both = denoise(backbone, pair, views, images_per_forward=2, method=config)
    assert torch.equal(both[1:], denoise(backbone, pair[1:], views[1:], method=config))
    assert not torch.allclose(both[1:], denoise(backbone, pair[1:], views[:1], method=config), atol=1e-3)
    with torch.inference_mode():
        assert torch.equal(both, denoise(backbone, pair, views, method=config))
    with torch.autocast("cpu", torch.bfloat16):
        denoiser = denoiser_of(config)
        assert denoiser.features(backbone, pair[:1], views[:1]).dtype == torch.float32
    drawn = torch.get_rng_state()
    again = denoise(backbone, pair * (1 + 1e-6), views, method=config)
    assert (again - both).norm() < 1e-4 * both.norm()
    assert torch.equal(torch.get_rng_state(), drawn), "nobody else's random numbers"
    assert not both.requires_grad
    assert backbone.vit.patch_embed.proj.weight.grad is None


def test_it_is_a_row_of_tables_and_what_others_hand_on_to() -> None:
    backbone = load_backbone(tiny_dinov2())
    config = DvtConfig(views=4, steps=3)
    assert Denoising(config).features(backbone, images(1)).shape == (1, backbone.out_dim, 8, 8)
    change = parse_denoiser({"method": "position_subspace", "then": config.model_dump()})
    assert (change.forward_passes, change.fitting_steps) == (4, 3)
    assert denoiser_of(change).fitting_flops(32, 64) == denoiser_of(config).fitting_flops(32, 64) > 0
    assert calibrate(backbone, images(2), change).then == config


def test_its_flops_are_those_of_its_matrices() -> None:
    found = Dvt(DvtConfig(steps=2)).fitting_flops(channels=32, patches=64)
    field = 64 * (128 * 256 + 256 * 256 + 256 * 32)
    assert found == 2 * 3 * 2 * (field + TOKENS_PER_STEP * 2 * 256 * 32 / 2)


def test_what_cannot_be_told_apart_is_refused() -> None:
    backbone = load_backbone(tiny_dinov2())
    with pytest.raises(ConfigError, match=r"dvt cannot tell content from artifacts(.|\n)*larger max_shift"):
        denoise(backbone, images(1), method={"method": "dvt", "views": 4, "max_shift": 0.01})
    mirrored = Views([[0, 0], [0, 0]], [False, True])
    with pytest.raises(ConfigError, match="shifted by whole patches"):
        denoise(backbone, images(1), mirrored, method={"method": "dvt"})


def test_a_fit_that_comes_to_nothing_says_so() -> None:
    with pytest.raises(NonFiniteError, match="smaller learning_rate"):
        denoise(Stained(), images(1), method=DvtConfig(views=4, steps=20, learning_rate=1e30))
