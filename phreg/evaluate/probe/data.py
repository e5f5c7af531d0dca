"""`ProbeData`: what a probe is trained and scored on, all of it in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from phreg.errors import DataError
from phreg.evaluate.scores import IGNORE
from phreg.types import Quarantined


@dataclass(frozen=True, eq=False)
class ProbeData:
    """Dense features of a labelled set, and its labels and depths at the images' own sizes.

    `features` [N, C, h, w] are on CPU in half precision. `labels[i]` and `depths[i]` are None where the set
    has none; classes and metres as in `LabelledImage`; depths that are only trained on may be smaller.
    `skipped` are images that could not be used, and why. `forward_passes` are those of this call (a view of
    an image is one): 0 if all was stored before.
    """

    name: str
    keys: tuple[str, ...]
    features: Float16[Tensor, "N C h w"] = field(repr=False)
    labels: tuple[UInt8[np.ndarray, "_ _"] | None, ...] = field(repr=False)
    depths: tuple[Float[np.ndarray, "_ _"] | None, ...] = field(repr=False)
    skipped: tuple[Quarantined, ...] = ()
    forward_passes: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def labels_of(self, classes: int) -> list[npt.NDArray[np.uint8]]:
        """The labels of all images. Raises `DataError` where there are none, or one is no class."""
        labels = self._all(self.labels, "labels")
        for key, image in zip(self.keys, labels, strict=True):
            highest = image[image != IGNORE].max(initial=0)
            if highest >= classes:
                raise DataError(
                    f"A label of image {key!r} in {self.name} is no class",
                    expected=f"0 to {classes - 1}, or {IGNORE} for pixels that do not count",
                    found=str(highest),
                    remedy="check the set's classes, and which label values it ignores",
                )
        return labels

    def all_depths(self) -> list[npt.NDArray[np.floating[Any]]]:
        """The depths of all images. Raises `DataError` where there are none."""
        return self._all(self.depths, "depth")

    def _all(self, items: Sequence[npt.NDArray[Any] | None], what: str) -> list[npt.NDArray[Any]]:
        found = [item for item in items if item is not None]
        if len(found) < len(items) or not items:
            without = next((key for key, item in zip(self.keys, items, strict=True) if item is None), None)
            raise not_all_have(what, self.name, "no images" if without is None else f"none for {without!r}")
        return found


def not_all_have(what: str, set_name: str, found: str) -> DataError:
    """Of a set whose images lack what a probe learns."""
    return DataError(
        f"The set {set_name} cannot be probed for {what}",
        expected=f"{what} for each image",
        found=found,
        remedy="use a set that has them, or another probe",
    )
