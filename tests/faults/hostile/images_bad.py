"""Images that cannot be used: each is quarantined with a reason."""

import functools
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.faults.hostile.case import Case, file_of
from tests.faults.hostile.images_odd import WIDE, chunk, encoded, png_with
from tests.helpers import make_image

LARGER = make_image(2, 90, 70)


def cut(kind: str, left: float = 0.5) -> bytes:
    data = encoded(LARGER, kind)
    return data[: int(len(data) * left)]


def claiming(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def four_hundred_megapixels() -> bytes:
    """All there, in 400 kB."""
    press = zlib.compressobj(9)
    body = b"".join(press.compress(bytes(20_001)) for _ in range(20_000)) + press.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def endless_scans(between: bytes = b"") -> bytes:
    """The last scan of a progressive JPEG again and again: 64 megapixels are gone over each time."""
    data = encoded(Image.new("RGB", (8000, 8000)), "JPEG", progressive=True)
    return data[:-2] + (between + data[data.rindex(b"\xff\xda") : -2]) * 5000 + b"\xff\xd9"


def huge_tile() -> bytes:
    """A TIFF of 8 x 8 pixels in one tile of 640 megapixels."""
    values = [(256, 8), (257, 8), (258, 8), (259, 5), (262, 1), (277, 1), (322, 40_000), (323, 16_000),
              (324, 400), (325, 100)]  # fmt: skip
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values)
    return (b"II*\0" + struct.pack("<IH", 8, len(values)) + tags + bytes(4)).ljust(500, b"\0")


def bad_checksum() -> bytes:
    data = bytearray(encoded(LARGER))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def jpeg_of_65535_squared() -> bytes:
    data = bytearray(encoded(WIDE, "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


def webp_of_gigapixels() -> bytes:
    inner = encoded(WIDE, "WEBP", lossless=True)[12:]
    canvas = (65_000).to_bytes(3, "little") * 2
    parts = [(b"VP8X", b"\2\0\0\0" + canvas), (b"ANIM", bytes(6)), (b"ANMF", bytes(16) + inner)]
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(data)) + data for name, data in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def float_tiff(value: float) -> bytes:
    return encoded(Image.fromarray(np.full((8, 8), value, np.float32)), "TIFF")


COMMENT = b"\xff\xfe\0\2"  # an empty one
NOT_AN_IMAGE = "not an image in a known format"
_MADE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no bytes": (lambda: b"", "^no bytes$"),
    "one byte": (lambda: b"\xff", NOT_AN_IMAGE),
    "zeros": (lambda: bytes(100_000), NOT_AN_IMAGE),
    "an HTML page called .jpg": (lambda: b"<!DOCTYPE html><html>404</html>" * 9, "DOCTYPE"),
    "an SVG called .png": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>" * 9, NOT_AN_IMAGE),
    "a PDF": (lambda: b"%PDF-1.7\n" + bytes(999), NOT_AN_IMAGE),
    "PostScript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NOT_AN_IMAGE),
    "a zip": (lambda: b"PK\3\4" + bytes(999), NOT_AN_IMAGE),
    "an icon": (lambda: encoded(WIDE, "ICO"), NOT_AN_IMAGE),
    "a JPEG 2000": (lambda: encoded(LARGER, "JPEG2000"), NOT_AN_IMAGE),
    **{f"half a {kind}": (functools.partial(cut, kind), ".") for kind in ("JPEG", "PNG", "WEBP", "GIF",
                                                                        "TIFF", "BMP", "PPM")},
    "a JPEG's first 30 bytes": (lambda: encoded(LARGER, "JPEG")[:30], "."),
    "a JPEG without its last bytes": (functools.partial(cut, "JPEG", 0.97), "truncated"),
    "half a progressive JPEG": (lambda: encoded(LARGER, "JPEG", progressive=True)[:900], "truncated"),
    "a PNG with a wrong checksum": (bad_checksum, "."),
    "a PNG of no pixels": (lambda: claiming(0, 5), "."),
    "a PNG that claims 50000 x 50000": (lambda: claiming(50_000, 50_000), "pixels"),
    "a PNG that claims 2^31 squared": (lambda: claiming(2**31 - 1, 2**31 - 1), "pixels"),
    "400 megapixels in 400 kB": (four_hundred_megapixels, "pixels"),
    "a JPEG that claims 65535 x 65535": (jpeg_of_65535_squared, "pixels"),
    "a WebP that claims 65000 x 65000": (webp_of_gigapixels, "."),
    "5000 scans of 64 megapixels": (endless_scans, "more than 100 scans"),
    **{
        f"5000 scans behind {name}": (
            functools.partial(endless_scans, COMMENT + between),
            "more than 100 scans",
        )
        for name, between in {
            "fill bytes": b"\xff",
            "stray bytes": b"\x07",
            "TEM markers": b"\xff\1",
        }.items()
    },
    "a tile of 640 megapixels": (huge_tile, "tiles of 40000x16000"),
    "text that inflates to 200 MB": (
        lambda: png_with(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000)))),
        ".",
    ),
    "an ICC profile that inflates to 200 MB": (
        lambda: png_with(chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200_000_000)))),
        "too large",
    ),
    "1000 texts of a megabyte": (
        lambda: png_with(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20)))] * 1000),
        ".",
    ),
    "a plain PPM of comments": (lambda: b"P3\n8 8\n255\n" + b"#\n" * 400_000, "comments"),
    "float pixels": (lambda: float_tiff(0.5), "range is not known"),
    "NaN pixels": (lambda: float_tiff(float("nan")), "range is not known"),
    "32-bit pixels": (
        lambda: encoded(Image.fromarray(np.full((8, 8), 70_000, np.int32)), "TIFF"),
        "range is not known",
    ),
}  # fmt: skip
CASES = tuple(
    Case("image", name, file_of("x.jpg", data), "quarantined", says) for name, (data, says) in _MADE.items()
)
