"""`test_time_registers` step by step against a statement of the method in loops, on small random networks."""

import pytest
import torch
from torch import Tensor

from phreg.config.denoisers import TestTimeRegistersConfig, ViewsConfig
from phreg.errors import ConfigError
from phreg.method.denoising import Denoising, calibrate, denoise, denoiser_of, described
from phreg.method.outliers import FACTOR, outliers
from phreg.method.views import sample_views
from phreg.models import Backbone, load_backbone
from tests.helpers import tiny_clip, tiny_dinov2
from tests.method.loud import images, loud
from tests.models.tiny_families import MADE, tiny

BLOCKS = 3


def stated_neurons(backbone: Backbone, pictures: Tensor, keep: int) -> list[tuple[int, int]]:
    """Images one by one, blocks as timm runs them, units one by one."""
    vit, prefix = backbone.vit, backbone.vit.num_prefix_tokens
    totals: dict[tuple[int, int], float] = {}
    rises = [0.0] * (len(vit.blocks) - 1)
    counted = 0
    for picture in pictures:
        x = backbone._sequence(backbone.embed(picture[None]))
        x = vit.norm_pre(x)
        hidden, norms = [], []
        for block in vit.blocks[:-1]:
            x = x + block.ls1(block.attn(block.norm1(x)))
            own = block.mlp.act(block.mlp.fc1(block.norm2(x)))
            x = x + block.ls2(block.mlp.fc2(own))
            hidden.append(own[0, prefix:])
            norms.append(x[0, prefix:].norm(dim=-1))
        there = [patch for patch in range(len(norms[-1])) if outliers(norms[-1])[patch]]
        if not there:
            continue
        counted += 1
        for b, (of_block, norm) in enumerate(zip(hidden, norms, strict=True)):
            rises[b] += sum(float(norm[p]) for p in there) / len(there) / float(norm.median())
            for unit in range(of_block.shape[1]):
                mean = sum(abs(float(of_block[p, unit])) for p in there) / len(there)
                totals[b, unit] = totals.get((b, unit), 0.0) + mean
    assert counted > 0
    last = next(b for b, rise in enumerate(rises) if rise / counted > FACTOR)
    sought = [place for place in totals if place[0] <= last]
    return sorted(sorted(sought, key=lambda place: -totals[place])[:keep])


def stated_features(backbone: Backbone, picture: Tensor, neurons: list[tuple[int, int]]) -> Tensor:
    """One image with one token more; read as `standard`."""
    vit = backbone.vit
    prefix = vit.num_prefix_tokens
    x = backbone._sequence(backbone.embed(picture[None]))
    x = torch.cat([x[:, :prefix], torch.zeros(1, 1, x.shape[2]), x[:, prefix:]], 1)
    x = vit.norm_pre(x)
    for b, block in enumerate(vit.blocks):
        x = x + block.ls1(block.attn(block.norm1(x)))
        hidden = block.mlp.act(block.mlp.fc1(block.norm2(x)))
        for own, unit in neurons:
            if own != b:
                continue
            largest = max(float(hidden[0, place, unit]) for place in range(prefix + 1, hidden.shape[1]))
            for place in range(prefix + 1, hidden.shape[1]):
                hidden[0, place, unit] = 0
            hidden[0, prefix, unit] = largest
        x = x + block.ls2(block.mlp.fc2(hidden))
    return backbone._finished(x[:, prefix + 1 :])[0]


@pytest.mark.parametrize("make", [tiny_dinov2, tiny_clip])
@torch.no_grad()
def test_it_is_the_authors_method_step_by_step(make) -> None:
    backbone = loud(load_backbone(make(depth=BLOCKS)))
    pictures = images(4)
    found = calibrate(backbone, pictures, {"method": "test_time_registers", "keep": 3})
    assert isinstance(found, TestTimeRegistersConfig)
    neurons = stated_neurons(backbone, pictures, 3)
    assert list(found.neurons) == neurons
    assert (0, 0) in neurons  # the one that we made loud
    features = denoise(backbone, pictures, method=found).flatten(2).transpose(1, 2)
    for picture, own in zip(pictures, features, strict=True):
        torch.testing.assert_close(own, stated_features(backbone, picture, neurons), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_outliers_are_gone_and_the_network_is_as_it_was() -> None:
    backbone = loud(load_backbone(tiny_dinov2(depth=BLOCKS)))
    before = backbone(images(4))
    found = calibrate(backbone, images(4), {"method": "test_time_registers", "keep": 3})
    changed = denoiser_of(found).changed(backbone)

    def share(network: Backbone) -> float:
        norms: list[Tensor] = []
        network.before_last(network.embed(images(4)), lambda x: norms.append(x.norm(dim=-1)))
        return float(outliers(norms[-1]).float().mean())

    assert share(backbone) > 0
    assert share(changed) == 0
    assert torch.equal(backbone(images(4)), before)
    assert changed.vit.blocks[0].mlp.fc2.weight is backbone.vit.blocks[0].mlp.fc2.weight


@torch.no_grad()
def test_views_come_after_it() -> None:
    backbone = loud(load_backbone(tiny_dinov2(depth=BLOCKS)))
    alone = calibrate(backbone, images(4), {"method": "test_time_registers", "keep": 2})
    then = alone.model_copy(update={"then": ViewsConfig(views=3, max_shift=0.3)})
    assert (alone.forward_passes, then.forward_passes) == (1, 3)
    views = sample_views(8, 3, 0.3)
    expected = denoise(denoiser_of(alone).changed(backbone), images(2), views)
    assert torch.equal(denoise(backbone, images(2), views, method=then), expected)
    assert torch.equal(denoise(backbone, images(2), method=then), expected)


@pytest.mark.parametrize("name", MADE)
@torch.no_grad()
def test_every_family_either_has_hidden_units_or_says_so(name: str) -> None:
    backbone = load_backbone(tiny(name))
    pictures = torch.randn(1, 3, *backbone.image_size, generator=torch.Generator().manual_seed(0))
    before = backbone(pictures)
    method = {"method": "test_time_registers", "neurons": [[0, 1]]}
    if backbone.family.hidden_layer(backbone.vit.blocks[0]) is None:
        with pytest.raises(ConfigError, match="needs an MLP with hidden units"):
            denoise(backbone, pictures, method=method)
        return
    if not backbone.family.takes_registers:
        with pytest.raises(ConfigError, match="to which a token can be added"):
            denoise(backbone, pictures, method=method)
        return
    changed = denoise(backbone, pictures, method=method)
    assert changed.isfinite().all()
    assert not torch.allclose(changed, before, atol=1e-4)
    assert torch.equal(backbone(pictures), before)


def test_a_batch_calibrates_nothing_by_itself() -> None:
    """But `denoise`, which is given images that its caller chose, does."""
    backbone, pictures = loud(load_backbone(tiny_dinov2(depth=BLOCKS))), images(4)
    method = described("test_time_registers")
    with pytest.raises(ConfigError, match="test-time registers: it is not calibrated"):
        Denoising(method).features(backbone, pictures)
    found = calibrate(backbone, pictures, method)
    expected = Denoising(found).features(backbone, pictures)
    assert torch.equal(denoise(backbone, pictures, method="test_time_registers"), expected)


def test_a_quiet_network_needs_none() -> None:
    with pytest.raises(ConfigError, match="no outliers that registers could take"):
        calibrate(load_backbone(tiny_dinov2(depth=BLOCKS)), images(2), "test_time_registers")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"neurons": [[7, 0]]}, "no hidden unit 0 in a block 7"),
        ({"neurons": [[0, 100_000]]}, "no hidden unit 100000 in a block 0"),
        ({"last_block": 7}, "last_block is 7"),
    ],
)
def test_what_the_network_has_not_is_refused(options: dict, said: str) -> None:
    method = {"method": "test_time_registers", **options}
    with pytest.raises(ConfigError, match=said):
        calibrate(load_backbone(tiny_dinov2(depth=BLOCKS)), images(2), method)
