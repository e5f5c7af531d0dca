"""Tiny files of labelled sets, in the formats that the official archives have."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from phreg.config.labels import LabelledSetConfig, SetKind
from phreg.evaluate.datasets import LabelledSet, open_set
from tests.helpers import make_image

HEIGHT, WIDTH = 4, 6


def opened(kind: SetKind, root: Path, **options: object) -> LabelledSet:
    return open_set(LabelledSetConfig.model_validate({"kind": kind, "root": str(root)} | options))


def write_image(path: Path, width: int = WIDTH, height: int = HEIGHT, orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    make_image(len(path.name), width, height).save(path, exif=exif)
    return path


def write_mask(path: Path, values: np.ndarray | list[int] | int, palette: bool = False) -> Path:
    """An index mask: of the values given, or of these repeated over an image's size."""
    pixels = np.asarray(values, np.uint8)
    if pixels.ndim < 2:
        pixels = np.resize(pixels, (HEIGHT, WIDTH))
    image = Image.fromarray(pixels)
    if palette:
        image = image.convert("P")
        image.putdata(pixels.ravel().tolist())
        image.putpalette([(i * 37 + c * 11) % 256 for i in range(256) for c in range(3)])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="PNG")
    return path


def write_depth(path: Path, millimetres: np.ndarray | list[int] | int) -> Path:
    pixels = np.asarray(millimetres, np.uint16)
    if pixels.ndim < 2:
        pixels = np.resize(pixels, (HEIGHT, WIDTH))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


def write_text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_mat(path: Path, labels: np.ndarray, compress: bool = True, stored: str = "u2") -> Path:
    """A MATLAB 5 file with the one variable `LabelMap`, as the format's description has it."""
    kinds = {"u1": 2, "u2": 4, "f8": 9}
    shape = np.array(labels.shape, "<i4").tobytes()
    matrix = (
        _mat_element(6, struct.pack("<II", 11, 0))
        + _mat_element(5, shape)
        + _mat_element(1, b"LabelMap")
        + _mat_element(kinds[stored], labels.astype("<" + stored).tobytes(order="F"))
    )
    element = _mat_element(14, matrix)
    if compress:
        packed = zlib.compress(element)
        element = struct.pack("<II", 15, len(packed)) + packed
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + element)
    return path


def _mat_element(kind: int, data: bytes) -> bytes:
    if len(data) <= 4:
        return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)
