"""Colours of features: comparable across maps, steady under what is not content."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.errors import NonFiniteError
from phreg.evaluate.pca import colours


def make_map(seed: int = 0, channels: int = 8, height: int = 5, width: int = 6) -> torch.Tensor:
    return torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_any_map_gives_colours_in_range(channels: int, height: int, width: int, seed: int) -> None:
    found = colours([make_map(seed, channels, height, width)])
    assert [image.shape for image in found] == [(height, width, 3)]
    assert np.isfinite(found[0]).all()
    assert found[0].min() >= 0
    assert found[0].max() <= 1


def test_equal_features_have_equal_colours_across_maps() -> None:
    before, after = make_map(0), make_map(1)
    after[:, 1, 2] = before[:, 3, 4]
    one, two = colours([before, after])
    np.testing.assert_allclose(one[3, 4], two[1, 2], atol=1e-9)
    same, again = colours([before, before])
    np.testing.assert_array_equal(same, again)


def test_colours_do_not_depend_on_length_or_a_rotation_of_the_channels() -> None:
    features = make_map()
    (expected,) = colours([features])
    lengths = torch.rand(5, 6) + 0.1
    np.testing.assert_allclose(colours([features * lengths])[0], expected, atol=1e-5)
    order = torch.randperm(8)
    np.testing.assert_allclose(colours([features[order]])[0], expected, atol=1e-5)


def test_the_strongest_component_comes_first_and_keeps_its_place() -> None:
    features = torch.ones(4, 4, 4)
    features[1, :, :] += torch.linspace(-1, 1, 4)[:, None]  # varies down the rows
    (found,) = colours([features])
    assert (np.abs(np.diff(found[:, 0, 0])) > 0.05).all()
    np.testing.assert_allclose(found[:, 0], found[:, 3], atol=1e-9)


def test_one_wild_token_does_not_grey_out_the_rest() -> None:
    features = make_map(height=20, width=20)
    (calm,) = colours([features])
    features[:, 3, 3] *= 1e4
    (wild,) = colours([features])
    assert np.delete(wild.reshape(-1, 3), 63, 0).std() > 0.9 * calm.std()


def test_features_that_do_not_vary_are_grey() -> None:
    np.testing.assert_array_equal(colours([torch.ones(4, 3, 3)])[0], np.full((3, 3, 3), 0.5))


def test_features_that_are_not_finite_are_refused() -> None:
    features = make_map()
    features[0, 0, 0] = float("inf")
    with pytest.raises(NonFiniteError):
        colours([features, make_map()])
