"""From a labelled set to `ProbeData`: images read, resized and seen by the frozen backbone once."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float16, UInt8
from PIL import Image
from torch import Tensor

from phreg.errors import DataError
from phreg.evaluate.datasets.base import LabelledImage, LabelledSet
from phreg.evaluate.probe.data import ProbeData
from phreg.evaluate.probe.eigen import counted_depth
from phreg.evaluate.probe.features import FeatureMaker
from phreg.evaluate.probe.targets import reduced_map
from phreg.method.denoising import Denoising
from phreg.models import Backbone
from phreg.models.backbone import check_divides
from phreg.storage import Folder
from phreg.types import Quarantined

IMAGES_PER_ENTRY = 64
"""Images in one stored object: what an interruption can cost, and what is held in memory at once."""

OnImages = Callable[[int, int], None]
_Depth = npt.NDArray[np.floating[Any]]


def extract_features(
    backbone: Backbone,
    labelled_set: LabelledSet,
    size: int | None = None,
    folder: Folder | None = None,
    device: str = "cpu",
    denoising: Denoising | None = None,
    on_progress: OnImages | None = None,
    reduce_depths: bool = False,
) -> ProbeData:
    """Dense features of a whole set, from `folder` where they were stored before.

    Args:
        size: side in pixels of the square that every image is resized to (bicubic, its proportions not
            kept, so that images make batches); default: the backbone's own image size.
        folder: where features are stored in half precision; None stores nothing.
        denoising: how features are cleaned, as of a denoised teacher; default: one pass.
        on_progress: told (images done, images in all).
        reduce_depths: keep of each depth map what a head is trained on (`reduced_map` of what counts)
            instead of all of it: the 24,231 training frames of NYU would be 30 GB.

    Labels, and other depths, stay at the image's own size. Images that cannot be read, or whose features
    are not finite in half precision, are skipped and named. Raises `ModelError` for a size that the patch
    does not divide, `DataError` if no image can be used.
    """
    sides = input_sides(backbone, size)
    grid = (sides[0] // backbone.patch_size, sides[1] // backbone.patch_size)
    maker = FeatureMaker(backbone, folder, device, denoising)
    keep = partial(_reduced_depth, labelled_set.name, grid) if reduce_depths else _whole
    gathered = _Gathered(torch.empty(len(labelled_set), backbone.out_dim, *grid, dtype=torch.float16), keep)
    for start in range(0, len(labelled_set), IMAGES_PER_ENTRY):
        end = min(start + IMAGES_PER_ENTRY, len(labelled_set))
        items = gathered.read(labelled_set, range(start, end))
        if items:
            gathered.add(items, maker.features(np.stack([resized(item.image, sides) for item in items])))
        if on_progress is not None:
            on_progress(end, len(labelled_set))
    return gathered.finish(labelled_set.name, maker.forward_passes)


def input_sides(backbone: Backbone, size: int | None) -> tuple[int, int]:
    """(height, width) that images are resized to. Raises `ModelError` if the patch does not divide them."""
    sides = backbone.image_size if size is None else (size, size)
    check_divides(sides, backbone.patch_size)
    return sides


def resized(image: UInt8[np.ndarray, "H W 3"], sides: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """The whole image at (height, width), bicubic with antialiasing."""
    return np.array(Image.fromarray(image).resize((sides[1], sides[0]), Image.Resampling.BICUBIC))


def _whole(depth: _Depth) -> _Depth:
    return depth


def _reduced_depth(set_name: str, grid: tuple[int, int], depth: _Depth) -> _Depth:
    return reduced_map(counted_depth(set_name, depth), grid)


class _Gathered:
    """The images of a set so far: those that can be used, in `features[: len(keys)]`, and why others not.

    `keep`: what is kept of a depth map.
    """

    def __init__(self, features: Tensor, keep: Callable[[_Depth], _Depth]) -> None:
        self.features = features
        self.keep = keep
        self.keys: list[str] = []
        self.labels: list[npt.NDArray[np.uint8] | None] = []
        self.depths: list[_Depth | None] = []
        self.skipped: list[Quarantined] = []

    def read(self, labelled_set: LabelledSet, indices: range) -> list[LabelledImage]:
        """Those of these images that can be read."""
        items = []
        for index in indices:
            try:
                items.append(labelled_set[index])
            except DataError as error:
                self.skipped.append(Quarantined(f"image {index}", str(error)))
        return items

    def add(self, items: list[LabelledImage], features: Float16[Tensor, "N C h w"]) -> None:
        for item, of_item in zip(items, features, strict=True):
            if not of_item.isfinite().all():
                self.skipped.append(Quarantined(item.key, "its features are not finite in half precision"))
                continue
            self.features[len(self.keys)] = of_item
            self.keys.append(item.key)
            self.labels.append(item.labels)
            self.depths.append(None if item.depth is None else self.keep(item.depth))

    def finish(self, name: str, forward_passes: int) -> ProbeData:
        if not self.keys:
            raise DataError(
                f"No image of the set {name} can be probed",
                expected="at least one readable image with finite features",
                found=f"{len(self.skipped)} skipped; the first: {self.skipped[0].reason}"
                if self.skipped
                else "an empty set",
            )
        return ProbeData(
            name=name,
            keys=tuple(self.keys),
            features=self.features[: len(self.keys)],
            labels=tuple(self.labels),
            depths=tuple(self.depths),
            skipped=tuple(self.skipped),
            forward_passes=forward_passes,
        )
