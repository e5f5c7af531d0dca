"""The benchmark of views: errors against the mean over all, on features that are known."""

import numpy as np
import pytest
import torch

from benchmarks.views import SAMPLERS, errors_of, every, views_like


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


def test_how_many_views_have_an_error() -> None:
    assert views_like({1: 1.0, 2: 0.5, 4: 0.25}, 0.25) == pytest.approx(4)
    assert views_like({1: 1.0, 4: 0.25}, 0.5) == pytest.approx(2)
    assert views_like({1: 1.0, 2: 0.5}, 0.1) == float("inf")
