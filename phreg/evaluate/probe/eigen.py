"""Eigen's crop, the part of NYU's frames whose depth counts: rows 45 to 470, columns 41 to 600 of 480 x 640.

The frames have a white border, and depth near it is guessed. Benchmarks of NYU depth score within the crop;
here the probe is trained within it as well (DINOv2 cuts the border off its training images).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from phreg.evaluate.probe.data import ProbeData

_SET = "nyu_depth"
_SHAPE = (480, 640)
_CROP = (slice(45, 471), slice(41, 601))


def counted_depths(data: ProbeData) -> Iterator[npt.NDArray[np.floating[Any]]]:
    """The depths of all images, 0 where their benchmark does not count them, one after the other.

    Raises `DataError`.
    """
    return (counted_depth(data.name, depth) for depth in data.all_depths())


def counted_depth(set_name: str, depth: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """The same of one image."""
    return _within(depth) if set_name == _SET and depth.shape == _SHAPE else depth


def _within(depth: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    counted = np.zeros_like(depth)
    counted[_CROP] = depth[_CROP]
    return counted
