"""Arrays as small pictures: one pixel per patch where the page enlarges them."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from PIL import Image

from phreg.evaluate.scores import IGNORE
from phreg.report.content import Swatch
from phreg.report.palette import class_colour

HEAT_MAP = "viridis"
LOSSLESS_SIDE = 160
"""Images up to this many pixels per side stay PNG; larger ones are JPEG, a tenth of the size."""
LARGEST_SIDE = 640
JPEG_QUALITY = 88


def photo(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """An image for the page: PNG if it is small, else JPEG of at most `LARGEST_SIDE` pixels per side."""
    picture = Image.fromarray(image)
    if max(picture.size) <= LOSSLESS_SIDE:
        return _png(picture)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


def colour_png(colours: Float[np.ndarray, "h w 3"]) -> bytes:
    """Colours in [0, 1], one pixel per patch. Raises `ValueError` for values that are not finite."""
    return _png(Image.fromarray(_bytes(colours)))


def heat_png(*maps: Float[np.ndarray, "h w"], per_row: int = 1) -> bytes:
    """Maps of numbers in [0, 1] on the page's colour scale, one pixel per patch.

    Between maps there is a transparent pixel. Raises `ValueError` for values that are not finite.
    """
    height, width = maps[0].shape
    places = tile_places(len(maps), per_row, (height, width))
    bottom, right = max(y for y, _ in places) + height, max(x for _, x in places) + width
    canvas = np.zeros((bottom, right, 4), np.uint8)
    for (y, x), fractions in zip(places, maps, strict=True):
        if not np.isfinite(fractions).all():
            raise ValueError("a heat map has values that are not finite")
        canvas[y : y + height, x : x + width] = _bytes(colormaps[HEAT_MAP](np.clip(fractions, 0, 1)))
    return _png(Image.fromarray(canvas))


def tile_places(count: int, per_row: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """The (row, column) at which each map of `heat_png` begins, their size being (rows, columns)."""
    return [(i // per_row * (size[0] + 1), i % per_row * (size[1] + 1)) for i in range(count)]


def heat_stops(count: int = 32) -> list[str]:
    """Colours (`#rrggbb`) of the scale of `heat_png` at even distances from 0 to 1."""
    scale = _bytes(colormaps[HEAT_MAP](np.linspace(0, 1, count))[None, :, :3])[0]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in scale]


def label_map_png(labels: UInt8[np.ndarray, "H W"], classes: Sequence[str]) -> bytes:
    """A label map in the colours of its classes; pixels labelled 255 are transparent.

    At most `LARGEST_SIDE` pixels per side: of a larger map, evenly spaced pixels.
    Raises `ValueError` for a label that is no class, and for more than 255 classes.
    """
    if len(classes) > IGNORE:
        raise ValueError(f"{len(classes)} classes are more than the {IGNORE} of a label map")
    known = (labels < len(classes)) | (labels == IGNORE)
    if not known.all():
        raise ValueError(f"a label is {labels[~known].max()}, but there are {len(classes)} classes")
    picture = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    table = np.zeros((256, 3), np.uint8)
    for index, name in enumerate(classes):
        table[index] = _rgb(class_colour(index, name))
    picture.putpalette(table.tobytes())
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.NEAREST)
    return _png(picture, transparency=IGNORE)


def swatches(classes: Sequence[str], *maps: UInt8[np.ndarray, "H W"]) -> tuple[Swatch, ...]:
    """The legend of label maps: the classes that occur in any of them, in order of their index."""
    seen = {int(index) for labels in maps for index in np.unique(labels)}
    return tuple(Swatch(class_colour(i, name), name) for i, name in enumerate(classes) if i in seen)


def _bytes(colours: Float[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    if not np.isfinite(colours).all():
        raise ValueError("a picture has values that are not finite")
    return np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _png(picture: Image.Image, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True, **options)
    return buffer.getvalue()
