"""PAMR: pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020).

Every pixel's scores become a weighted mean of its neighbours' scores, again and again. The weights are a
softmax over the neighbours of -|difference of intensity| / (0.1 sigma), averaged over the colour channels;
sigma is the standard deviation of the intensities in that neighbourhood (the factor 0.1 is that of the
authors' code).
Neighbours are the eight around a pixel at each of several distances.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

DILATIONS = (1, 2, 4, 8, 12, 24)
TEMPERATURE = 0.1
_TINY = 1e-8  # flat neighbourhoods: equal weights
_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def pamr(
    scores: Float[Tensor, "K H W"],
    image: Float[Tensor, "channels H W"],
    steps: int,
    dilations: Sequence[int] = DILATIONS,
) -> Float[Tensor, "K H W"]:
    """Scores (logits or probabilities) pulled to the edges of the image; any scale of intensity will do.

    A mean of neighbours: constants stay, and so do sums over K. Beyond the border lies its last pixel.
    """
    offsets = [(dy * d, dx * d) for d in dilations for dy, dx in _AROUND]
    weights = affinities(image, offsets, centres=len(dilations))
    for _ in range(steps):
        mixed = torch.zeros_like(scores)
        for weight, offset in zip(weights, offsets, strict=True):
            mixed.addcmul_(weight, shifted(scores, offset))
        scores = mixed
    return scores


def affinities(
    image: Float[Tensor, "channels H W"], offsets: Sequence[tuple[int, int]], centres: int = 1
) -> Float[Tensor, "neighbours H W"]:
    """The weight of each neighbour at each pixel; they sum to one.

    In sigma the pixel itself counts `centres` times (once a dilation, as in the authors' code).
    """
    around = torch.stack([shifted(image, offset) for offset in offsets])
    sigma = torch.cat([around, image.expand(centres, -1, -1, -1)]).std(0)
    distance = (around - image).abs() / (TEMPERATURE * sigma + _TINY)
    return (-distance.mean(1)).softmax(0)


def shifted(maps: Float[Tensor, "K H W"], offset: tuple[int, int]) -> Float[Tensor, "K H W"]:
    """`out[y, x] = maps[y + dy, x + dx]`, coordinates clamped to the image."""
    rows, columns = (
        (torch.arange(side, device=maps.device) + by).clamp(0, side - 1)
        for side, by in zip(maps.shape[1:], offset, strict=True)
    )
    return maps[:, rows][:, :, columns]
