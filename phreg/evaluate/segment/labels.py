"""From cosines at pixels to class probabilities and labels, as the field computes them.

Logits are cosines times the logit scale; the softmax is over all names; a class has the probability of its
likeliest name (the convention of SCLIP's, ClearCLIP's and NACLIP's code).
"""

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float, Int, UInt8
from torch import Tensor

MAX_VALUES = 1 << 24  # of a map with all names, in memory at once


def class_probabilities(
    cosines: Float[Tensor, "names H W"], owner: Int[Tensor, " names"], classes: int, scale: float
) -> Float[Tensor, "K H W"]:
    """The probability of each class's likeliest name. Their sum is below 1 where classes have several."""
    of_name = (cosines * scale).softmax(0)
    out = of_name.new_zeros(classes, *of_name.shape[1:])
    index = owner[:, None, None].expand_as(of_name)
    return out.scatter_reduce_(0, index, of_name, "amax", include_self=False)


def class_labels(
    cosines: Float[Tensor, "names H W"],
    owner: Int[Tensor, " names"],
    scale: float,
    threshold: float | None = None,
    background: int | None = None,
) -> UInt8[Tensor, "H W"]:
    """The likeliest class; `background` where its probability is below `threshold`, if there are both.

    The likeliest name's class is the likeliest class, so that only the threshold needs a softmax.
    """
    best, name = cosines.max(0)
    out = owner.to(torch.uint8)[name]
    if threshold is not None and background is not None:
        probability = 1 / ((cosines - best) * scale).exp().sum(0)
        out[probability < threshold] = background
    return out


def rows_at(
    maps: Float[Tensor, "K h w"], size: tuple[int, int], first: int, last: int
) -> Float[Tensor, "K rows W"]:
    """Rows `first` to `last` (exclusive) of the maps resized to `size`, bilinear, corners not aligned.

    Equal to that part of `F.interpolate`'s output; a map with hundreds of names at the full size of a
    photograph would take gigabytes.
    """
    height = maps.shape[-2]
    if tuple(maps.shape[-2:]) == size:
        return maps[:, first:last]
    place = (torch.arange(first, last, device=maps.device) + 0.5) * (height / size[0]) - 0.5
    place = place.clamp(0, height - 1)
    above = place.floor().long()
    below = (above + 1).clamp(max=height - 1)
    part = (place - above)[None, :, None].to(maps)
    rows = torch.lerp(maps[:, above], maps[:, below], part)
    return F.interpolate(rows[None], size=(last - first, size[1]), mode="bilinear", align_corners=False)[0]


def bands(names: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Ranges of rows such that a map of `names` stays within `MAX_VALUES`."""
    rows = max(MAX_VALUES // (names * size[1]), 1)
    return [(first, min(first + rows, size[0])) for first in range(0, size[0], rows)]
