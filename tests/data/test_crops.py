import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from phreg.data import CropRule, cut, cut_middle
from phreg.errors import ConfigError
from phreg.types import Box
from tests.helpers import make_image

RULE = CropRule(image_size=64, min_crop=0.5, crops_per_image=4, seed=0)
sides = st.integers(1, 5000)


@given(sides, sides, st.floats(0.001, 1), st.integers(0, 3), st.text(max_size=5), st.integers(0, 2**40))
@example(1, 1, 0.001, 0, "", 0)
@example(1, 4000, 0.5, 0, "", 0)
def test_a_crop_lies_in_its_image(
    width: int, height: int, min_crop: float, index: int, key: str, seed: int
) -> None:
    top, left, side = replace(RULE, min_crop=min_crop, seed=seed).box("shard", key, index, width, height)
    short = min(width, height)
    assert max(1, math.floor(min_crop * short)) <= side <= short
    assert 0 <= top <= height - side
    assert 0 <= left <= width - side


def test_a_crop_depends_on_its_sample_alone() -> None:
    boxes = {
        (seed, shard, key, index): replace(RULE, seed=seed).box(shard, key, index, 500, 375)
        for seed in (0, 1)
        for shard in ("a", "b")
        for key in ("k", "l")
        for index in (0, 1)
    }
    assert len(set(boxes.values())) == len(boxes)
    assert boxes[1, "b", "l", 1] == replace(RULE, seed=1, image_size=518).box("b", "l", 1, 500, 375)


def test_known_crops() -> None:
    """Cached targets depend on these: if this fails, the format version of the target spec must rise."""
    boxes = [RULE.box("photos-000000", "n01440764", index, 500, 375) for index in (0, 1)]
    assert boxes == [Box(0, 124, 363), Box(1, 287, 189)]


@given(sides, st.text(max_size=5))
def test_whole_squares(side: int, key: str) -> None:
    assert replace(RULE, min_crop=1.0).box("shard", key, 0, side, side) == Box(0, 0, side)


def test_sides_and_places_are_uniform() -> None:
    width, height = 400, 300
    boxes = [RULE.box("shard", str(i), 0, width, height) for i in range(4000)]
    side = np.array([box.side for box in boxes])
    down = np.array([(box.top + 0.5) / (height - box.side + 1) for box in boxes])
    across = np.array([(box.left + 0.5) / (width - box.side + 1) for box in boxes])
    for values in ((side - 150) / 150, down, across):
        np.testing.assert_allclose(np.quantile(values, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.04)
    assert {box.top for box in boxes if box.side == height} <= {0}


def test_an_index_past_the_rule_is_a_mistake() -> None:
    with pytest.raises(IndexError):
        RULE.box("shard", "key", 4, 100, 100)


@pytest.mark.parametrize(
    "change", [{"min_crop": 0.0}, {"min_crop": 1.1}, {"min_crop": math.nan}, {"image_size": 0}]
)
def test_impossible_rules(change: dict) -> None:
    with pytest.raises(ConfigError):
        replace(RULE, **change)


@pytest.mark.parametrize(
    ("size", "target", "region"),
    [  # width and height; height and width; rows and columns
        ((60, 40), (40, 40), (slice(0, 40), slice(10, 50))),
        ((40, 61), (40, 40), (slice(10, 50), slice(0, 40))),
        ((60, 40), (20, 60), (slice(10, 30), slice(0, 60))),
        ((60, 40), (40, 20), (slice(0, 40), slice(20, 40))),
        ((60, 40), (40, 60), (slice(0, 40), slice(0, 60))),
    ],
)
def test_the_middle_in_the_proportions_of_the_target(
    size: tuple[int, int], target: tuple[int, int], region: tuple[slice, slice]
) -> None:
    image = make_image(0, *size)
    np.testing.assert_array_equal(cut_middle(image, *target), np.asarray(image)[region])


@pytest.mark.parametrize("target", [(56, 56), (28, 84), (84, 28)])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (1, 1), (1, 4000), (4000, 1), (3, 2)])
def test_the_middle_keeps_its_proportions(size: tuple[int, int], target: tuple[int, int]) -> None:
    """A disc in the middle stays one: half as high and wide as the shorter of both sides allows."""
    y, x = np.mgrid[: size[1], : size[0]]
    radius = min(size[0] / target[1], size[1] / target[0]) * min(target) / 4
    disc = (y - (size[1] - 1) / 2) ** 2 + (x - (size[0] - 1) / 2) ** 2 < radius**2
    image = Image.fromarray(np.repeat(disc[..., None] * np.uint8(255), 3, -1))
    found = cut_middle(image, *target)
    assert found.shape == (*target, 3)
    if min(size) > 100:
        rows, columns = (np.ptp(np.nonzero(found[..., 0] > 127)[axis]) + 1 for axis in (0, 1))
        assert rows == pytest.approx(min(target) / 2, abs=2)
        assert columns == pytest.approx(min(target) / 2, abs=2)


def test_cut_takes_rows_from_the_top_and_columns_from_the_left() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:30, 5:25] = (255, 0, 128)
    result = cut(Image.fromarray(image), Box(10, 5, 20), 20)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, np.broadcast_to(np.uint8([255, 0, 128]), (20, 20, 3)))


def test_cut_at_its_own_size_changes_nothing() -> None:
    image = make_image(0, 50, 40)
    np.testing.assert_array_equal(cut(image, Box(3, 7, 32), 32), np.asarray(image)[3:35, 7:39])


def test_cut_is_antialiased() -> None:
    """One-pixel stripes become grey; without antialiasing they would stay black and white."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    result = cut(Image.fromarray(stripes), Box(0, 0, 256), 32)
    assert np.abs(result[4:-4, 4:-4].astype(int) - 127).max() <= 3


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 2)])
def test_tiny_images_fill_the_crop(size: tuple[int, int]) -> None:
    box = RULE.box("shard", "key", 0, *size)
    assert cut(Image.new("RGB", size, "red"), box, 56).shape == (56, 56, 3)
    assert (cut(Image.new("RGB", size, "red"), box, 56) == (255, 0, 0)).all()
