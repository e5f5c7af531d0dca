"""Sliding windows: cut from an image, and their maps put together again."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from torch import Tensor

YX = tuple[int, int]  # vertical first, in pixels


def cut(images: Float[Tensor, "B 3 H W"], places: Sequence[YX], size: YX) -> Float[Tensor, "BN 3 h w"]:
    """Windows of `size` at `places` (top, left) of each image, image by image."""
    height, width = size
    windows = [images[..., top : top + height, left : left + width] for top, left in places]
    return torch.stack(windows, 1).flatten(0, 1)


def assemble(
    maps: Float[Tensor, "N K h w"], places: Sequence[YX], window: YX, size: YX
) -> Float[Tensor, "K H W"]:
    """Coarse maps of windows, brought to their windows' pixels (bilinear) and averaged where they overlap."""
    total = maps.new_zeros(maps.shape[1], *size)
    count = maps.new_zeros(size)
    for (top, left), coarse in zip(places, maps, strict=True):
        where = (slice(top, top + window[0]), slice(left, left + window[1]))
        total[:, *where] += F.interpolate(coarse[None], size=window, mode="bilinear", align_corners=False)[0]
        count[where] += 1
    return total / count
