"""Small records that cross package borders."""

from typing import NamedTuple


class Box(NamedTuple):
    """A square region of an image, in pixels of the (EXIF-upright) source image."""

    top: int
    left: int
    side: int


class Quarantined(NamedTuple):
    """A sample left out, and why."""

    key: str
    reason: str
