"""Reading one image, index mask or depth map. What is wrong with a file is a `DataError` that names it."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8, UInt16
from PIL import ExifTags, Image, ImageOps

from phreg.data.decode import MAX_PIXELS, decode_image
from phreg.errors import DataError, SampleError

_SIDEWAYS = 5  # EXIF orientations from here on exchange width and height


def read_image(path: Path) -> tuple[UInt8[np.ndarray, "H W 3"], int]:
    """An image's pixels, upright, and the EXIF orientation by which they were turned (1: not turned)."""
    data = read_bytes(path)
    try:
        pixels = np.array(decode_image(data))  # a copy, which torch may write to
    except SampleError as error:
        raise DataError(f"Not a usable image: {path}", found=error.problem) from None
    return pixels, _orientation(data)


def read_index_mask(path: Path) -> UInt8[np.ndarray, "H W"]:
    """The stored values of an 8-bit grey or palette PNG; of a palette the indices, never the colours."""
    return _read_png(path, ("L", "P"), "8-bit grey or palette, whose values are class indices").astype(
        np.uint8
    )


def read_millimetres(path: Path) -> UInt16[np.ndarray, "H W"]:
    """The stored values of a 16-bit grey PNG: depth in millimetres, 0 where it was not measured."""
    return _read_png(path, ("I;16",), "16-bit grey, depth in millimetres").astype(np.uint16)


def stored_shape(pixels: UInt8[np.ndarray, "H W 3"], orientation: int) -> tuple[int, int]:
    """Height and width of an image as it is stored, before it was turned upright."""
    height, width = pixels.shape[:2]
    return (width, height) if orientation >= _SIDEWAYS else (height, width)


def turn(values: Shaped[np.ndarray, "H W"], orientation: int) -> Shaped[np.ndarray, "..."]:
    """Turn what belongs to the stored pixels of an image as the image was turned."""
    if orientation == 1:
        return values
    layer = Image.fromarray(values)
    layer.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(layer))


def read_bytes(path: Path) -> bytes:
    """Raises `DataError` where the file cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {path}", found=error.strerror or type(error).__name__) from None


def _orientation(data: bytes) -> int:
    """As `decode_image` understands it: 1 where it is absent, out of range or cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            value = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises nearly anything on broken EXIF
        return 1
    return value if 1 <= value <= 8 else 1


def _read_png(path: Path, modes: tuple[str, ...], expected: str) -> np.ndarray:
    data = read_bytes(path)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"Too large: {path}", found=f"{image.width}x{image.height} pixels")
            stored = _stored_mode(image)
            if stored in modes:
                return np.asarray(image)
    except DataError:
        raise
    except Exception as error:  # decoders raise nearly anything on bad bytes
        raise DataError(
            f"Not a readable PNG: {path}", found=f"{type(error).__name__}: {error}"[:200]
        ) from None
    raise DataError(
        f"Pixels of another kind: {path}",
        expected=f"a PNG of {expected}",
        found=f"mode {stored}",
        remedy="masks drawn in colours have to be converted to class indices first",
    )


def _stored_mode(image: Image.Image) -> str:
    """Pillow's mode, or its raw mode for grey of 2 and 4 bits, whose values Pillow scales to 8 bits."""
    tile = getattr(image, "tile", None)
    return str(tile[0][3]) if tile and image.mode == "L" else image.mode
