"""`position_subspace` against a statement of it, and on features with positions planted in them."""

import math

import pytest
import torch
from torch import Tensor

from phreg.config.denoisers import PositionSubspaceConfig
from phreg.errors import ConfigError
from phreg.method.denoising import calibrate, denoise
from phreg.method.position_subspace import TOLD, positional_directions, unpacked
from phreg.method.views import sample_views
from phreg.models import load_backbone
from tests.helpers import tiny_clip, tiny_dinov2
from tests.method.loud import images, placed

GRID, WIDTH = (6, 8), 12


def planted(n: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Content, and row and column along two directions of its own; the directions [2, C]."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(WIDTH, 2, generator=generator).double()).Q.T
    waves = [torch.cos(torch.pi * (torch.arange(side).double() + 0.5) / side) for side in GRID]
    rows, columns = torch.meshgrid(*waves, indexing="ij")
    places = torch.stack([rows, columns], -1).flatten(0, 1)
    content = torch.randn(n, len(places), WIDTH, generator=generator).double()
    return content + 4 * places @ axes, axes


def test_planted_positions_are_found_and_nothing_else() -> None:
    features, axes = planted()
    found = positional_directions(features, GRID, 3)
    assert found.shape == (2, WIDTH)  # of six functions
    assert torch.linalg.matrix_norm(axes - (axes @ found.T) @ found, 2) < 0.1
    torch.testing.assert_close(found @ found.T, torch.eye(2).double())


def test_what_is_left_tells_no_position() -> None:
    """A least-squares map from features finds nothing, where there was much to be found."""
    features, _ = planted()
    found = positional_directions(features, GRID, 1)
    place = torch.cos(torch.pi * (torch.arange(GRID[0]).double() + 0.5) / GRID[0]).repeat_interleave(GRID[1])

    def explained(x: Tensor) -> float:
        x = (x - x.mean((0, 1))).flatten(0, 1)
        y = place.repeat(len(features))
        error = y - x @ (torch.linalg.pinv(x) @ y)
        return float(1 - error.square().sum() / y.square().sum())

    assert explained(features) > 0.5
    assert explained(features - (features @ found.T) @ found) < 1e-9


@pytest.mark.parametrize("frequencies", [1, 3])
def test_it_is_what_it_says_step_by_step(frequencies: int) -> None:
    features, _ = planted(n=6)
    bent = features + 0.3 * features.square()
    n, patches, _ = bent.shape
    functions = [
        [math.cos(math.pi * k * ((p // GRID[1] if axis == 0 else p % GRID[1]) + 0.5) / GRID[axis])
         for p in range(patches)]
        for axis in (0, 1) for k in range(1, frequencies + 1)
    ]  # fmt: skip
    kept: list[Tensor] = []
    for values in functions:
        direction = sum(bent[i, p] * values[p] for i in range(0, n, 2) for p in range(patches))
        along = [[float(bent[i, p] @ direction) for p in range(patches)] for i in range(1, n, 2)]
        both = torch.tensor([[a, v] for of_image in along for a, v in zip(of_image, values, strict=True)])
        if float(torch.corrcoef(both.T)[0, 1]) ** 2 < TOLD:
            continue
        own = sum(bent[i, p] * values[p] for i in range(n) for p in range(patches))
        for other in kept:  # Gram-Schmidt
            own = own - (own @ other) * other
        kept.append(own / own.norm())
    found = positional_directions(bent, GRID, frequencies)
    expected = torch.stack(kept)
    torch.testing.assert_close(found.T @ found, expected.T @ expected)
    assert len(kept) > 2 * (frequencies > 1)


@pytest.mark.parametrize("make", [tiny_dinov2, tiny_clip])
@torch.no_grad()
def test_features_lose_their_directions_and_nothing_else(make) -> None:
    backbone = placed(load_backbone(make()))
    found = calibrate(backbone, images(8), {"method": "position_subspace", "frequencies": 2})
    assert isinstance(found, PositionSubspaceConfig)
    directions = unpacked(found.directions, backbone.out_dim)
    plain = backbone(images(2))
    clean = denoise(backbone, images(2), method=found)
    inside = torch.einsum("bchw,rc->brhw", plain, directions)
    torch.testing.assert_close(
        clean, plain - torch.einsum("brhw,rc->bchw", inside, directions), rtol=0, atol=1e-5
    )
    assert torch.equal(backbone(images(2)), plain)  # the network is as it was


@torch.no_grad()
def test_views_come_after_it() -> None:
    """Both are linear, so that their order makes no difference."""
    backbone = placed(load_backbone(tiny_dinov2()))
    found = calibrate(
        backbone, images(8), {"method": "position_subspace", "then": {"method": "views", "views": 4}}
    )
    views = sample_views(8, 4, 0.15)
    directions = unpacked(found.directions, backbone.out_dim)
    mean = denoise(backbone, images(2), views)
    expected = mean - torch.einsum("bchw,rc,rd->bdhw", mean, directions, directions)
    torch.testing.assert_close(denoise(backbone, images(2), method=found), expected, rtol=0, atol=1e-5)


def test_features_without_positions_are_refused() -> None:
    content = torch.randn(6, 48, WIDTH, generator=torch.Generator().manual_seed(0)).double()
    with pytest.raises(ConfigError, match="do not tell where a patch is"):
        positional_directions(content, GRID, 3)
    with pytest.raises(ConfigError, match="One image says nothing"):
        positional_directions(content[:1], GRID, 3)


def test_directions_of_another_network_are_refused() -> None:
    found = calibrate(placed(load_backbone(tiny_dinov2())), images(8), "position_subspace")
    with pytest.raises(ConfigError, match="not of this network's features"):
        denoise(load_backbone(tiny_clip()), images(1), method=found)
