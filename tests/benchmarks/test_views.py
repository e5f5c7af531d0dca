"""The benchmark of views: errors against the mean over all, on features that are known."""

import numpy as np
import pytest
import torch

from benchmarks.views import (
    MOST,
    SAMPLERS,
    STOPPED_DRAWS,
    courses_of,
    errors_of,
    every,
    ranks_of,
    stopped,
    views_like,
)


def test_there_are_all_views_and_the_first_is_the_crop() -> None:
    offsets, flips = every(14, 0.15)
    assert (offsets[0].tolist(), bool(flips[0])) == ([0, 0], False)
    assert len({(*offset, flip) for offset, flip in zip(offsets.tolist(), flips.tolist(), strict=True)}) == 50


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("n", [1, 2, 5, 10, 20])
def test_samplers_give_some_of_all_views(name: str, n: int) -> None:
    offsets, flips = SAMPLERS[name](14, n, 0.15, 3)
    assert offsets.shape == (n, 2)
    assert flips.shape == (n,)
    assert (offsets[0].tolist(), bool(flips[0])) == ([0, 0], False)
    assert np.abs(offsets).max() <= 2


def test_what_depends_on_the_mirror_alone_is_right_in_pairs() -> None:
    _, flips = every(14, 0.15)
    features = torch.from_numpy(flips.astype(np.float32))[:, None, None].expand(-1, 196, 4)
    errors = errors_of(features, torch.ones(50, 196), 14, 0.15)
    assert errors["each with its mirror image", 10] == pytest.approx(0)
    assert errors["the paper's", 1] == pytest.approx(0.25)
    assert errors["independent", 10] > 0.01


def test_what_is_told_of_independent_noise_is_its_error_but_for_what_all_views_share() -> None:
    """Loud tokens are told from quiet ones; of 50 views the mean of n is off by (1/n - 1/50) of the noise."""
    loud = torch.linspace(0.5, 2, 196)[:, None]
    features = 3 + loud * torch.randn(50, 196, 32, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(50, 196, dtype=torch.bool)
    course = courses_of(features, seen, 14, 0.15)
    assert course.shape == (STOPPED_DRAWS, MOST + 1, 2)
    size, noise = float(features.mean(0).square().mean()), float(loud.square().mean())
    for n in (5, 10, 20):
        told, true = course[:, n].mean(0) * size
        assert told == pytest.approx(noise / n, rel=0.1)
        assert true == pytest.approx(noise * (1 / n - 1 / 50), rel=0.2)
    assert ranks_of(features, seen, 14, 0.15) > 0.8


def test_each_image_stops_where_its_own_error_is_below_the_bound() -> None:
    counts = np.arange(MOST + 1.0)
    counts[:2] = np.nan
    course = [np.stack([noise / counts, noise / counts / 2], -1)[None] for noise in (0.05, 0.09, 9.0)]
    views, error, worst = stopped(course, 0.1)
    assert views == pytest.approx((5 + 9 + MOST) / 3)
    assert worst**2 == pytest.approx(9 / MOST / 2)
    assert error**2 == pytest.approx((0.01 / 2 + 0.01 / 2 + 9 / MOST / 2) / 3)


def test_how_many_views_have_an_error() -> None:
    assert views_like({1: 1.0, 2: 0.5, 4: 0.25}, 0.25) == pytest.approx(4)
    assert views_like({1: 1.0, 4: 0.25}, 0.5) == pytest.approx(2)
    assert views_like({1: 1.0, 2: 0.5}, 0.1) == float("inf")
