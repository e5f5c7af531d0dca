"""From the values stored in a mask to class indices."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16

from phreg.errors import DataError
from phreg.evaluate.scores import IGNORE

_UNKNOWN = -1
_VALUES = 1 << 16
_SHOWN = 5


class LabelMap:
    """A table of stored value to class index. 255 is ignored unless the table names it."""

    def __init__(self, classes: Mapping[int, int], ignored: Iterable[int] = ()) -> None:
        known = {IGNORE: IGNORE} | dict(classes) | dict.fromkeys(ignored, IGNORE)
        self._table = np.full(_VALUES, _UNKNOWN, np.int16)
        self._table[list(known)] = list(known.values())
        self._range = f"{min(classes)} to {max(classes)}"

    def to_classes(
        self, stored: UInt8[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], path: Path
    ) -> UInt8[np.ndarray, "H W"]:
        """Raises `DataError`, naming `path` and the values, where a value stands for no class."""
        mapped = self._table[stored]
        unknown = np.unique(stored[mapped == _UNKNOWN])
        if unknown.size:
            raise DataError(
                f"A mask has label values that are no class: {path}",
                expected=f"class values ({self._range}), or values that are ignored (255)",
                found=", ".join(map(str, unknown[:_SHOWN])) + (", ..." if unknown.size > _SHOWN else ""),
                remedy="check that the masks are of this kind of set; `folder`: name the value in `ignore`",
            )
        return mapped.astype(np.uint8)


def as_stored(classes: int, ignored: Iterable[int] = ()) -> LabelMap:
    """Stored values are class indices."""
    return LabelMap({index: index for index in range(classes)}, ignored)


def without_zero(classes: int, ignored: Iterable[int] = ()) -> LabelMap:
    """0 is ignored and 1 is the first class (mmsegmentation's `reduce_zero_label`)."""
    return LabelMap({index + 1: index for index in range(classes)}, ignored=(0, *ignored))
