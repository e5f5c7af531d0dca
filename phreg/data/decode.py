"""Encoded bytes to an upright RGB image. The bytes may be hostile; whatever goes wrong is a `SampleError`."""

import io
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from phreg.data.bombs import check_cost
from phreg.errors import SampleError

# Pillow warns from this size on; refusing it gives one answer under every warning filter.
MAX_PIXELS = 1024**3 // 4 // 3
STRIP_PIXELS = 1 << 22
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(data: bytes) -> Image.Image:
    """Decode to 8-bit RGB, upright by EXIF: the first frame, transparency over white, 16 bits scaled to 8.

    Colour profiles are ignored, as ImageNet's own pipelines do. Raises `SampleError` (its `problem` is a
    short reason) for what is not whole, too large, or in none of `FORMATS`.
    """
    if not data:
        raise SampleError("no bytes")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SampleError(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS}")
            check_cost(image, data)
            image.load()
            return _upright(_to_rgb(image), _orientation(image))
    except SampleError:
        raise
    except Image.UnidentifiedImageError:
        start = f"it begins with {data[:16]!r}"
        raise SampleError(f"not an image in a known format: {start}", ", ".join(FORMATS)) from None
    except Image.DecompressionBombError:
        raise SampleError(f"more than {MAX_PIXELS} pixels") from None
    except Exception as error:  # decoders raise nearly anything on bad bytes
        line = "".join((str(error).splitlines() or [""])[:1])
        said = "".join(letter if letter.isprintable() else "?" for letter in line[:120])
        raise SampleError(f"cannot be decoded: {type(error).__name__}: {said}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _by_strips(image, _eight_bits)
    if image.mode == "F":
        raise SampleError("floating-point pixels, whose range is not known")
    if image.has_transparency_data:
        return _by_strips(image, _on_white)
    return image.convert("RGB")


def _by_strips(image: Image.Image, to_rgb: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """A pixel-wise conversion whose intermediate images are never as large as the image."""
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        return to_rgb(image)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(to_rgb(strip), (0, top))
    return whole


def _on_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits (Pillow's own conversion clips it at 255), rounded to 8."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise SampleError("pixels of more than 16 bits, whose range is not known")
    return Image.fromarray(((values * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)).convert("RGB")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 where it cannot be read: viewers show such an image as it is."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
