"""Images that are small to store and dear to decode, told before they are decoded.

The number of pixels is bounded elsewhere; these few bytes cost minutes, or gigabytes, at any number of them.
"""

import re

from PIL import Image, TiffImagePlugin

from phreg.errors import SampleError

MAX_SCANS = 100  # encoders write one, or about ten; each goes over the whole image
MAX_TILE = 1 << 25  # pixels of a TIFF's tile, unless the image itself has more
MAX_COMMENTS = 1000  # of a plain-text PPM; Pillow copies what follows each
# Of those with a length behind them, or the end: not stuffing, fill bytes, restarts, reserved ones.
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
_SCAN, _END = b"\xda", b"\xd9"


def check_cost(image: Image.Image, data: bytes) -> None:
    """Raise `SampleError` for an opened image that must not be decoded."""
    if image.format in ("JPEG", "MPO"):
        if count_scans(data) > MAX_SCANS:
            raise SampleError(f"more than {MAX_SCANS} scans")
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tile(image)
    elif data[:2] in (b"P1", b"P2", b"P3") and data.count(b"#") > MAX_COMMENTS:
        raise SampleError(f"more than {MAX_COMMENTS} comments")


def count_scans(data: bytes) -> int:
    """Scans of a JPEG's first image, counted no further than past `MAX_SCANS`.

    Between segments, as in entropy-coded data, libjpeg goes on to the next marker, whatever lies before it.
    """
    place, scans = 0, 0
    while scans <= MAX_SCANS and (marker := _MARKER.search(data, place)) and marker[1] != _END:
        scans += marker[1] == _SCAN
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def _check_tile(image: TiffImagePlugin.TiffImageFile) -> None:
    """libtiff makes room for a whole tile, however little of it the image needs."""
    width, height = (
        image.tag_v2.get(tag, 0) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)
    )
    if width * height > max(MAX_TILE, image.width * image.height):
        raise SampleError(f"tiles of {width}x{height} pixels")
