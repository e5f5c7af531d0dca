"""`TargetRows`: the targets of one shard, a row per crop.

Shapes: N rows, n views, P patches, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from phreg.cache.encodings import EncodedFeatures
from phreg.errors import CacheError, MissingTargetsError

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class TargetRows:
    """Targets by (key, crop), in the shard's order. Any integer array-likes are taken.

    keys: sample keys, N of them.
    crops [N]: the index of the crop within its sample.
    boxes [N, 3]: the crop as (top, left, side), pixels of the upright source image.
    views [N, n, 3]: the views averaged, (dy, dx, flip), patches.
    features: N encoded rows [P, C].
    """

    keys: Sequence[str]
    crops: Int32
    boxes: Int32
    views: Int32
    features: EncodedFeatures = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", list(self.keys))
        for name, axes in (("crops", 1), ("boxes", 2), ("views", 3)):
            object.__setattr__(self, name, _int32(name, getattr(self, name), axes))
        if problem := self._problem():
            raise CacheError("These rows are no targets of a shard", found=problem)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: Sequence[int]) -> "TargetRows":
        """Some of the rows, features still encoded."""
        picked = np.asarray(rows, np.intp)
        keys = [self.keys[row] for row in picked]
        return TargetRows(
            keys, self.crops[picked], self.boxes[picked], self.views[picked], self.features[picked]
        )

    @cached_property
    def index(self) -> dict[tuple[str, int], int]:
        """The row of each (key, crop)."""
        return {place: row for row, place in enumerate(zip(self.keys, self.crops.tolist(), strict=True))}

    def row(self, key: str, crop: int) -> int:
        """The row of a crop. Raises `MissingTargetsError`."""
        if (key, crop) not in self.index:
            raise MissingTargetsError(f"There is no target for crop {crop} of the sample {key!r}")
        return self.index[key, crop]

    def _problem(self) -> str:
        sizes = {name: len(getattr(self, name)) for name in ("keys", "crops", "boxes", "views", "features")}
        if len(set(sizes.values())) != 1:
            return "rows " + ", ".join(f"{size} in {name}" for name, size in sizes.items())
        if self.boxes.shape[1] != 3 or self.views.shape[2] != 3:
            return (
                f"boxes {list(self.boxes.shape)} and views {list(self.views.shape)}; [N, 3] and [N, n, 3] fit"
            )
        if len(self.index) != len(self.keys):
            return "the same crop of the same sample twice"
        bad = [key for key in self.keys if not key or "\0" in key or not _is_utf8(key)]
        return f"the key {bad[0]!r}, which is empty, has a NUL or is not UTF-8" if bad else ""


def _int32(name: str, values: Any, axes: int) -> Int32:
    array = np.asarray(values)
    whole = array.astype(np.int32)
    if array.ndim != axes or not np.array_equal(whole, array):
        raise CacheError(
            f"The rows' {name} are not what they should be",
            expected=f"integers with {axes} axes",
            found=f"{array.dtype} {list(array.shape)}",
        )
    return whole


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
