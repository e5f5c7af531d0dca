"""The label matrix of a MATLAB level 5 file, as PASCAL Context publishes its masks.

A small reader of that one kind of file (MathWorks, "MAT-File Format"), which keeps SciPy out of phreg: one
variable, a real two-dimensional array of whole numbers, compressed or not.
"""

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt16

from phreg.data.decode import MAX_PIXELS
from phreg.errors import DataError
from phreg.evaluate.datasets.reading import read_bytes

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_MAX_BYTES = MAX_PIXELS * 2


class _Element(NamedTuple):
    kind: int
    data: bytes
    end: int


def read_label_matrix(path: Path) -> UInt16[np.ndarray, "H W"]:
    """The first variable of the file. Raises `DataError` that names the file for anything else in it."""
    data = read_bytes(path)
    try:
        return _label_matrix(data)
    except (ValueError, struct.error, zlib.error, KeyError) as error:
        raise DataError(
            f"Not a readable label matrix: {path}",
            expected="a MATLAB level 5 file with one matrix of whole numbers from 0",
            found=str(error)[:200],
        ) from None


def _label_matrix(data: bytes) -> np.ndarray:
    order = {b"IM": "<", b"MI": ">"}[data[126:_HEADER]]
    matrix = _element(data, _HEADER, order)
    if matrix.kind == _COMPRESSED:
        matrix = _element(zlib.decompressobj().decompress(matrix.data, _MAX_BYTES), 0, order)
    if matrix.kind != _MATRIX:
        raise ValueError(f"an element of type {matrix.kind} where a matrix should be")
    flags = _element(matrix.data, 0, order)
    shape = _element(matrix.data, flags.end, order)
    name = _element(matrix.data, shape.end, order)
    values = _element(matrix.data, name.end, order)
    height, width = np.frombuffer(shape.data, np.dtype(order + "i4")).tolist()
    numbers = np.frombuffer(values.data, np.dtype(order + _DTYPES[values.kind]))
    if numbers.size and not (numbers.min() >= 0 and numbers.max() <= 0xFFFF and (numbers % 1 == 0).all()):
        raise ValueError("values that are no labels")
    return numbers.astype(np.uint16).reshape(height, width, order="F")  # MATLAB stores columns


def _element(data: bytes, start: int, order: str) -> _Element:
    """The data element at `start`. Small ones hold their size and up to 4 bytes in the tag itself."""
    kind, size = struct.unpack_from(order + "II", data, start)
    if kind >> 16:
        kind, size, begin, end = kind & 0xFFFF, kind >> 16, start + 4, start + 8
    else:
        begin, end = start + 8, start + 8 + size + (-size % 8 if kind != _COMPRESSED else 0)
    if begin + size > len(data):
        raise ValueError("cut short")
    return _Element(kind, data[begin : begin + size], end)
