"""What the heads learn: label and depth maps at four times the patches' resolution."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor

from phreg.evaluate.probe.heads import UPSAMPLE


def reduced(maps: Iterable[npt.NDArray[Any]], grid: Sequence[int]) -> Shaped[Tensor, "N H W"]:
    """Maps [H, W] of any sizes at four times the grid [h, w], held one at a time at their own."""
    return torch.from_numpy(np.stack([reduced_map(image, grid) for image in maps]))


def reduced_map(image: npt.NDArray[Any], grid: Sequence[int]) -> npt.NDArray[Any]:
    """The pixel nearest to each middle; of a map that has that size already, the map.

    Nearest, because neither classes nor a measured and an unmeasured depth have a mean.
    """
    size = (UPSAMPLE * grid[0], UPSAMPLE * grid[1])
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for old, new in zip(image.shape, size, strict=True)
    )
    return image[np.ix_(rows, columns)]
