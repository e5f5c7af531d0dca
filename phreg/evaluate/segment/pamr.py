"""PAMR: pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020).

Every pixel's scores become a weighted mean of its neighbours' scores, again and again. The weights are a
softmax over the neighbours of -|difference of intensity| / (0.1 sigma), averaged over the colour channels;
sigma is the standard deviation of the intensities in that neighbourhood (the factor 0.1 is that of the
authors' code).
Neighbours are the eight around a pixel at each of several distances.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
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
    weights = affinities(image, dilations)
    for _ in range(steps):
        mixed = torch.zeros_like(scores)
        for weight, neighbour in zip(weights, neighbours(scores, dilations), strict=True):
            mixed.addcmul_(weight, neighbour)
        scores = mixed
    return scores


def affinities(
    image: Float[Tensor, "channels H W"], dilations: Sequence[int] = DILATIONS
) -> Float[Tensor, "neighbours H W"]:
    """The weight of each neighbour at each pixel, in the order of `neighbours`; they sum to one.

    In sigma the pixel itself counts once a dilation, as in the authors' code.
    """
    total: Tensor = torch.zeros(())
    for channel in image:  # one at a time: all neighbours of all channels would fill the memory
        around = torch.cat(list(neighbours(channel[None], dilations)))
        sigma = torch.cat([around, channel.expand(len(dilations), -1, -1)]).std(0)
        total = total + (around - channel).abs() / (TEMPERATURE * sigma + _TINY)
    return (-total / len(image)).softmax(0)


def neighbours(maps: Float[Tensor, "K H W"], dilations: Sequence[int]) -> Iterator[Float[Tensor, "K H W"]]:
    """The maps moved by each offset (`out[y, x] = maps[y + dy, x + dx]`), views of one padded copy."""
    height, width = maps.shape[1:]
    reach = max(dilations)
    padded = F.pad(maps, (reach, reach, reach, reach), mode="replicate")
    for dilation, (dy, dx) in product(dilations, _AROUND):
        top, left = reach + dy * dilation, reach + dx * dilation
        yield padded[:, top : top + height, left : left + width]
