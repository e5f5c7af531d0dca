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
    assert (np.diff(found[:, 0, 0]) > 0.05).all(), "the largest entry of a component is positive"
    np.testing.assert_allclose(found[:, 0], found[:, 3], atol=1e-9)


def test_one_wild_token_does_not_grey_out_the_rest() -> None:
    calm = make_map(height=20, width=20) + 10
    wild = calm.clone()
    wild[:, 3, 3] = -1e4 * calm[:, 3, 3]
    before, after = (np.delete(colours([features])[0].reshape(-1, 3), 63, 0) for features in (calm, wild))
    assert after.std(axis=0)[1:].min() > 0.5 * before.std(axis=0).min()
    assert after.std(axis=0)[0] > 0.1


def test_all_maps_have_a_say_in_the_basis() -> None:
    one, two = colours([make_map(0), make_map(1)])
    second, first = colours([make_map(1), make_map(0)])
    np.testing.assert_allclose(first, one, atol=1e-6)
    np.testing.assert_allclose(second, two, atol=1e-6)


def test_features_that_do_not_vary_are_grey() -> None:
    np.testing.assert_array_equal(colours([torch.ones(4, 3, 3)])[0], np.full((3, 3, 3), 0.5))


def test_features_that_are_not_finite_are_refused() -> None:
    features = make_map()
    features[0, 0, 0] = float("inf")
    with pytest.raises(NonFiniteError):
        colours([features, make_map()])
