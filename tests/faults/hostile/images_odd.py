"""Images that are unusual, and good: they must be decoded."""

import base64
import functools
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.faults.hostile.case import Case, file_of
from tests.helpers import make_image

WIDE = make_image(1, 16, 8)
ARITHMETIC = base64.b64decode(  # by jpegtran -arithmetic; Pillow writes none
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxO"
    "UlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT0//yQARCAAQABADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwDLaLJ7xyphP296Dy8kpt8LtSrwfn3S"
    "qTLOzSNV+extIqJHUvTHqPYlAFNJGukux0wl9zqEXrcGONDsJ6ynuDmgiAVJ1Q/7L+9600gQ/9k="
)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks: bytes) -> bytes:
    """A good PNG with chunks put behind its header."""
    data = encoded(WIDE)
    return data[:33] + b"".join(chunks) + data[33:]


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = WIDE if orientation < 5 else WIDE.transpose(Image.Transpose.ROTATE_90)
    return encoded(stored, "JPEG", exif=exif)


def moving(kind: str) -> bytes:
    frames = [make_image(seed, 16, 8) for seed in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def exif_bomb() -> bytes:
    """65 000 tags that all point at the same 4 MB."""
    tags, size = 65_000, 4_000_000
    start = 8 + 2 + 12 * tags + 4
    body = b"".join(struct.pack("<HHII", tag + 1, 7, size, start) for tag in range(tags))
    exif = b"II*\0" + struct.pack("<IH", 8, tags) + body + bytes(4) + bytes(size)
    return png_with(chunk(b"eXIf", exif))


def palette_with_alpha() -> bytes:
    return encoded(WIDE.quantize(16), transparency=bytes(range(0, 256, 16)))


def jpeg_with_comments() -> bytes:
    data = encoded(WIDE, "JPEG")
    return data[:2] + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 40 + data[2:]


def page_that_follows_itself() -> bytes:
    data = bytearray(encoded(WIDE, "TIFF"))
    place = int.from_bytes(data[4:8], "little")
    next_page = place + 2 + 12 * int.from_bytes(data[place : place + 2], "little")
    data[next_page : next_page + 4] = place.to_bytes(4, "little")
    return bytes(data)


_MADE: dict[str, tuple[Callable[[], bytes], str]] = {
    "one pixel": (lambda: encoded(Image.new("RGB", (1, 1))), "1x1"),
    "1 x 4000": (lambda: encoded(Image.new("RGB", (1, 4000))), "1x4000"),
    "4000 x 1": (lambda: encoded(Image.new("RGB", (4000, 1)), "JPEG"), "4000x1"),
    "20000 px wide": (lambda: encoded(make_image(0, 20_000, 60), "JPEG"), "20000x60"),
    "CMYK JPEG": (lambda: encoded(WIDE.convert("CMYK"), "JPEG"), "16x8"),
    "CMYK TIFF": (lambda: encoded(WIDE.convert("CMYK"), "TIFF"), "16x8"),
    "16-bit PNG": (lambda: encoded(Image.fromarray(np.full((8, 16), 40_000, np.uint16))), "16x8"),
    "palette with alpha": (palette_with_alpha, "16x8"),
    "grayscale JPEG": (lambda: encoded(WIDE.convert("L"), "JPEG"), "16x8"),
    "grey with alpha": (lambda: encoded(WIDE.convert("LA")), "16x8"),
    "1-bit PNG": (lambda: encoded(WIDE.convert("1")), "16x8"),
    "1-bit TIFF, CCITT": (lambda: encoded(WIDE.convert("1"), "TIFF", compression="group4"), "16x8"),
    "animated GIF": (functools.partial(moving, "GIF"), "16x8"),
    "animated WebP": (functools.partial(moving, "WEBP"), "16x8"),
    "animated PNG": (functools.partial(moving, "PNG"), "16x8"),
    "two JPEGs in one (MPO)": (functools.partial(moving, "MPO"), "16x8"),
    "progressive JPEG": (lambda: encoded(WIDE, "JPEG", progressive=True), "16x8"),
    "arithmetic JPEG": (lambda: ARITHMETIC, "16x16"),
    "TIFF of 40 pages": (
        lambda: encoded(WIDE, "TIFF", save_all=True, append_images=[make_image(0, 9, 9)] * 39),
        "16x8",
    ),
    "TIFF page that follows itself": (page_that_follows_itself, "16x8"),
    "corrupted ICC profile, JPEG": (lambda: encoded(WIDE, "JPEG", icc_profile=b"\xff" * 5000), "16x8"),
    "corrupted ICC profile, PNG": (lambda: png_with(chunk(b"iCCP", b"x\0\0rubbish")), "16x8"),
    "EXIF whose tags repeat 4 MB": (exif_bomb, "16x8"),
    "2.6 MB of comments before the image": (jpeg_with_comments, "16x8"),
    "a film behind the JPEG": (lambda: encoded(WIDE, "JPEG") + b"\xff\xda" * 400_000, "16x8"),
    "81 megapixels with alpha in 1.4 MB": (
        lambda: encoded(Image.new("RGBA", (9000, 9000), (1, 2, 3, 4)), compress_level=1),
        "9000x9000",
    ),
    "81 megapixels of 16 bits": (
        lambda: encoded(Image.fromarray(np.zeros((9000, 9000), np.uint16)), compress_level=1),
        "9000x9000",
    ),
}
CASES = (
    *(
        Case("image", f"EXIF orientation {n}", file_of("x.jpg", functools.partial(turned, n)), "used", "16x8")
        for n in range(1, 9)
    ),
    *(Case("image", name, file_of("x.jpg", data), "used", says) for name, (data, says) in _MADE.items()),
)
