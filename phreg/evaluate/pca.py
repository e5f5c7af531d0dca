"""Features as colours: their first three principal components as red, green and blue."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from phreg.method.view_features import check_finite

Colours = Float[np.ndarray, "h w 3"]
DARKEST, BRIGHTEST = 1.0, 99.0
"""Percentiles of a component that become 0 and 1, so that few extreme tokens do not grey out the rest."""


def colours(maps: Sequence[Float[Tensor, "C h w"]]) -> list[Colours]:
    """Each feature map as an RGB image in [0, 1], one pixel per patch.

    All maps share one basis and one scale, fitted on all of their tokens together: equal colours mean
    equal features, across maps too. Features are taken at unit length, as the directions are what is
    compared; norms are drawn on their own. Raises `NonFiniteError`.
    """
    for features in maps:
        check_finite(features, "features to be drawn")
    tokens = [functional.normalize(features.double().flatten(1).T, dim=-1) for features in maps]
    together = torch.cat(tokens)
    mean, basis = together.mean(0), _principal_axes(together)
    low, high = _range((together - mean) @ basis)
    images = (((part - mean) @ basis - low) / (high - low) for part in tokens)
    return [
        image.clamp(0, 1).reshape(*features.shape[1:], 3).numpy()
        for image, features in zip(images, maps, strict=True)
    ]


def _principal_axes(tokens: Float[Tensor, "N C"]) -> Float[Tensor, "C 3"]:
    """The three directions of most variance, strongest first, each with its largest entry positive.

    Zeros stand for directions that are not there (fewer than three channels).
    """
    centred = tokens - tokens.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    axes = vectors.flip(1)[:, :3]
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return functional.pad(axes * largest.sign(), (0, 3 - axes.shape[1]))


def _range(components: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """Low and high percentile of each component; a component that does not vary becomes mid-grey."""
    low, high = components.quantile(torch.tensor([DARKEST, BRIGHTEST]).double() / 100, dim=0)
    flat = high - low < 1e-9
    return torch.where(flat, low - 0.5, low), torch.where(flat, low + 0.5, high)
