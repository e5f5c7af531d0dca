"""`PairedSet`: a labelled set whose every image has its labels or depth in a file of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from phreg.errors import DataError
from phreg.evaluate.datasets.base import LabelledImage, LabelledSet
from phreg.evaluate.datasets.label_map import LabelMap
from phreg.evaluate.datasets.reading import read_image, read_index_mask, read_millimetres, stored_shape, turn

ClassNames = tuple[tuple[str, ...], ...]
_MILLIMETRES = np.float32(1000)


@dataclass(frozen=True)
class Pair:
    """The files of one image."""

    key: str
    image: Path
    labels: Path | None = None
    depth: Path | None = None


class PairedSet(LabelledSet):
    """Pairs of files, read when they are asked for.

    Labels and depth belong to an image's stored pixels. An image that its EXIF orientation turns is given
    upright, and its labels and depth are turned with it.
    """

    def __init__(
        self,
        name: str,
        pairs: Sequence[Pair],
        classes: ClassNames = (),
        label_map: LabelMap | None = None,
        background: int | None = None,
        read_mask: Callable[[Path], np.ndarray] = read_index_mask,
    ) -> None:
        self.name, self.classes, self.background = name, classes, background
        self.has_depth = all(pair.depth is not None for pair in pairs)
        self._pairs, self._label_map, self._read_mask = tuple(pairs), label_map, read_mask

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> LabelledImage:
        pair = self._pairs[index]
        image, orientation = read_image(pair.image)
        shape = stored_shape(image, orientation)
        labels = depth = None
        if pair.labels is not None and self._label_map is not None:
            stored = _same_size(self._read_mask(pair.labels), shape, pair.labels, pair.image)
            labels = turn(self._label_map.to_classes(stored, pair.labels), orientation)
        if pair.depth is not None:
            stored = _same_size(read_millimetres(pair.depth), shape, pair.depth, pair.image)
            depth = turn(stored.astype(np.float32) / _MILLIMETRES, orientation)
        return LabelledImage(pair.key, image, labels, depth)


def _same_size(
    values: Shaped[np.ndarray, "..."], shape: tuple[int, int], path: Path, image: Path
) -> Shaped[np.ndarray, "..."]:
    if values.shape != shape:
        raise DataError(
            f"{path} and {image} differ in size",
            expected=f"{shape[1]}x{shape[0]} pixels, as the image is stored (before any turn by EXIF)",
            found=f"{values.shape[1]}x{values.shape[0]}",
            remedy="labels belong to the image file as it was published; do not resize one of the two",
        )
    return values
