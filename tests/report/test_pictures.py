import io

import numpy as np
import pytest
from PIL import Image

from phreg.evaluate.scores import IGNORE
from phreg.report import Swatch, colour_png, heat_png, label_map_png, photo, swatches, tile_places
from phreg.report.palette import PALETTE, class_colour
from phreg.report.pictures import heat_stops


def opened(data: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


def test_colours_are_kept_a_pixel_a_patch() -> None:
    colours = np.random.default_rng(0).random((5, 7, 3))
    assert np.abs(opened(colour_png(colours)) / 255 - colours).max() <= 0.5 / 255 + 1e-9
    assert (opened(colour_png(np.array([[[-1.0, 2.0, 0.5]]]))) == [[[0, 255, 128]]]).all()


def test_heat_goes_along_the_scale_of_its_bar() -> None:
    row = np.linspace(0, 1, 9)[None]
    shown = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in opened(heat_png(row))[0]]
    assert shown == heat_stops(9)
    lightness = opened(heat_png(row), "L")[0].astype(int)
    assert (np.diff(lightness) > 0).all()


@pytest.mark.parametrize(("count", "per_row", "size"), [(1, 6, (3, 4)), (2, 1, (7, 4)), (5, 3, (7, 14))])
def test_tiles_stand_at_their_places_with_nothing_between(
    count: int, per_row: int, size: tuple[int, int]
) -> None:
    maps = [np.random.default_rng(i).random((3, 4)) for i in range(count)]
    tiles = opened(heat_png(*maps, per_row=per_row), "RGBA")
    assert tiles.shape[:2] == size
    shown = np.zeros(size, bool)
    for (row, column), one in zip(tile_places(count, per_row, (3, 4)), maps, strict=True):
        part = tiles[row : row + 3, column : column + 4]
        assert (part == opened(heat_png(one), "RGBA")).all()
        shown[row : row + 3, column : column + 4] = True
    assert shown.sum() == 12 * count
    assert (tiles[..., 3] == np.where(shown, 255, 0)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        heat_png(np.full((2, 2), bad))
    with pytest.raises(ValueError, match="finite"):
        colour_png(np.full((2, 2, 3), bad))


def test_small_images_are_kept_exactly_and_large_ones_become_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert (opened(photo(noise)) == noise).all()
    ramp = np.linspace(0, 255, 1200).astype(np.uint8)
    large = photo(np.stack([np.tile(ramp, (800, 1))] * 3, axis=2))
    assert opened(large).shape == (427, 640, 3)
    assert len(large) < 20_000


def test_label_maps_have_the_colours_of_their_legend_and_leave_out_what_does_not_count() -> None:
    names = [f"class {i}" for i in range(40)]
    labels = np.array([[0, 1, 39], [IGNORE, 1, 0]], np.uint8)
    shown = opened(label_map_png(labels, names), "RGBA")
    legend = {swatch.name: swatch.colour for swatch in swatches(names, labels)}
    assert list(legend) == ["class 0", "class 1", "class 39"]
    for row, column in np.ndindex(labels.shape):
        red, green, blue, alpha = shown[row, column]
        if labels[row, column] == IGNORE:
            assert alpha == 0
        else:
            assert alpha == 255
            assert f"#{red:02x}{green:02x}{blue:02x}" == legend[names[labels[row, column]]]


def test_large_label_maps_become_small_and_no_class_is_made_up() -> None:
    labels = np.repeat(np.arange(4, dtype=np.uint8)[:, None], 1500, axis=1).repeat(300, axis=0)
    shown = opened(label_map_png(labels, ["a", "b", "c", "d"]))
    assert shown.shape == (512, 640, 3)
    colours = {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in shown.reshape(-1, 3)}
    assert colours == {class_colour(i, "") for i in range(4)}
    assert (shown[0, 0] != shown[-1, 0]).any()


def test_labels_that_are_no_class_are_refused() -> None:
    with pytest.raises(ValueError, match="a label is 3, but there are 3 classes"):
        label_map_png(np.array([[0, 3]], np.uint8), ["a", "b", "c"])
    with pytest.raises(ValueError, match="256 classes"):
        label_map_png(np.zeros((1, 1), np.uint8), ["x"] * 256)


def test_classes_past_the_palette_keep_the_colour_of_their_name() -> None:
    assert class_colour(3, "a") == class_colour(3, "b") == PALETTE[3]
    assert class_colour(50, "zebra") == class_colour(90, "zebra") != class_colour(50, "horse")
    assert Swatch(class_colour(50, "\ud800"), "x")


EYES = {
    "trichromatic": np.eye(3),
    "protanopic": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopic": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
"""What an eye sees of linear RGB, after Machado, Oliveira and Fernandes (2009), severity 1."""


@pytest.mark.parametrize("eye", EYES)
def test_palette_can_be_told_apart(eye: str) -> None:
    srgb = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in PALETTE])
    lab = _lab(_linear(srgb) @ np.array(EYES[eye]).T)
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distances[~np.eye(len(PALETTE), dtype=bool)].min() > 13


def _linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIELAB under D65."""
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.072175],
        [0.0193339, 0.119192, 0.9503041],
    ]
    xyz = np.clip(linear, 0, 1) @ np.array(to_xyz).T / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
