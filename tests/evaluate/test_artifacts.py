"""Artifacts by their norms: planted ones are found, all and only; objects, noise and low norms are none."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from phreg.evaluate.artifacts import LARGEST_RATIO, artifacts, norm_ratio

SEEDS = st.integers(0, 2**32 - 1)
SHIFTS = [(0, 0), (0, 1), (1, 0), (-1, -1), (2, -1)]


def calm(size: tuple[int, int] = (14, 14), seed: int = 0) -> Tensor:
    """Norms of content: between 8 and 12."""
    generator = torch.Generator().manual_seed(seed)
    return 8 + 4 * torch.rand(size, generator=generator, dtype=torch.float64)


def content(norms: Tensor) -> Tensor:
    """The norms of views in which each patch keeps what it has, NaN where a view did not see it."""
    height, width = norms.shape
    views = torch.full((len(SHIFTS), height, width), torch.nan, dtype=norms.dtype)
    for view, (dy, dx) in zip(views, SHIFTS, strict=True):
        rows, columns = slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0))
        view[rows, columns] = norms[rows, columns]
    return views


def planted(norms: Tensor, places: Tensor, factor: float) -> Tensor:
    """Views whose first has artifacts at places [k, 2] that no other view has there."""
    views = content(norms)
    views[0, places[:, 0], places[:, 1]] *= factor
    return views


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(0, 12), st.floats(4, 100), st.sampled_from([(8, 8), (14, 14), (16, 9), (37, 37)]))
def test_planted_artifacts_are_found_all_and_only(
    seed: int, count: int, factor: float, size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(size[0] * size[1], generator=generator)[: min(count, size[0] * size[1] // 10)]
    rows_columns = torch.stack([places // size[1], places % size[1]], 1)
    found = artifacts(planted(calm(size, seed), rows_columns, factor))
    assert found.flatten().nonzero().flatten().tolist() == sorted(places.tolist())


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_neither_scale_nor_other_images_matter(seed: int, scale: float) -> None:
    views = torch.stack([planted(calm(seed=seed + i), torch.tensor([[3, 4 + i]]), 9.0) for i in range(3)])
    found = artifacts(views)
    assert found.sum((-2, -1)).tolist() == [1, 1, 1]
    assert torch.equal(artifacts(views * scale), found)
    assert torch.equal(artifacts(views[1]), found[1])


@pytest.mark.parametrize("side", [1, 2, 5, 9])
@pytest.mark.parametrize("corner", [(0, 0), (3, 4)])
@pytest.mark.parametrize("factor", [1.5, 3, 20])
def test_an_object_that_keeps_its_norm_wherever_it_is_seen_is_none(
    side: int, corner: tuple[int, int], factor: float
) -> None:
    norms = calm()
    norms[corner[0] : corner[0] + side, corner[1] : corner[1] + side] *= factor
    assert not artifacts(content(norms)).any()


def test_a_large_part_of_the_image_is_no_artifact_though_it_changes_with_the_view() -> None:
    norms = calm((16, 16))
    norms[3:9, 3:9] *= 4
    views = content(norms)
    views[1:] = views[1:].clamp(max=12)
    found = artifacts(views)
    assert not found[5:7, 5:7].any(), "among their neighbours these are as all others"


@pytest.mark.parametrize("factor", [0.0, 0.01, 0.5])
def test_low_norms_are_none(factor: float) -> None:
    assert not artifacts(planted(calm(), torch.tensor([[2, 2], [7, 9], [13, 0]]), factor)).any()


def test_what_any_image_has_is_none_and_twice_the_median_is_the_bound() -> None:
    assert not artifacts(content(calm())).any()
    for far, any_found in ((1.95, False), (2.05, True)):
        flat = torch.full((14, 14), 10.0, dtype=torch.float64)
        assert artifacts(planted(flat, torch.tensor([[5, 5]]), far)).any() == any_found


def test_a_wide_spread_makes_far_norms_ordinary() -> None:
    generator = torch.Generator().manual_seed(0)
    wild = content(torch.rand((14, 14), generator=generator, dtype=torch.float64) * 10)  # median 5, MAD 2.5
    wild[0, 4, 4] = 14.0
    assert not artifacts(wild).any(), "above twice the median, within five scaled MADs of it"


@pytest.mark.parametrize("size", [(2, 2), (1, 5), (3, 1), (2, 3)])
def test_tiny_grids(size: tuple[int, int]) -> None:
    flat = torch.full(size, 3.0, dtype=torch.float64)
    views = flat.expand(3, *size).clone()
    assert not artifacts(views).any()
    views[0, 0, 0] = 30.0
    assert artifacts(views).nonzero().tolist() == [[0, 0]]


def test_a_single_patch_has_no_neighbours_and_of_two_none_is_far_from_the_median() -> None:
    assert not artifacts(torch.ones(2, 1, 1)).any()
    assert not artifacts(torch.tensor([[[1.0, 50.0]], [[1.0, 1.0]]])).any()


def test_a_patch_that_no_other_view_saw_is_judged_by_its_image_and_neighbours() -> None:
    views = content(calm())
    views[1:, 0, 0] = torch.nan
    views[0, 0, 0] = 90.0
    assert artifacts(views).nonzero().tolist() == [[0, 0]]


def test_equal_norms_and_rounding_have_none() -> None:
    flat = torch.full((4, 6, 6), 7.0, dtype=torch.float64)
    assert not artifacts(flat).any()
    flat[0, 2, 1] += 1e-6
    assert not artifacts(flat).any()
    assert norm_ratio(flat[0]).item() == pytest.approx(1)


def test_zeros_have_none_and_what_stands_out_of_them_is_finite() -> None:
    zeros = torch.zeros(4, 6, 6, dtype=torch.float64)
    assert not artifacts(zeros).any()
    assert norm_ratio(zeros[0]).item() == 1
    zeros[0, 2, 1] = 1e-3
    assert artifacts(zeros).nonzero().tolist() == [[2, 1]]
    assert norm_ratio(zeros[0]).item() == LARGEST_RATIO


def test_the_ratio_is_of_the_largest_norm_to_the_median() -> None:
    norms = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 60.0], [2.0, 3.0, 4.0]], dtype=torch.float64)
    assert norm_ratio(norms).item() == 20
    assert norm_ratio(torch.stack([norms, norms * 3])).tolist() == [20, 20]
