"""The distillation loss (paper section 3.3): (1 - cosine) + MSE, each a mean over patches."""

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from torch import Tensor

from phreg.errors import ConfigError

Scalar = Float[Tensor, ""]


class LossTerm(NamedTuple):
    """`of(target, predicted, channels, weights)` is a scalar of two float32 tensors of one shape, whose
    channels are along that dimension: a `mean` over patches with these weights. `title` and `meaning` are for
    figures and pages."""

    of: Callable[[Tensor, Tensor, int, Tensor | None], Tensor]
    title: str
    meaning: str


def mean(patches: Tensor, weights: Tensor | None) -> Tensor:
    """Of one number for each patch; with weights, a patch each, of any scale."""
    return patches.mean() if weights is None else (weights * patches).sum() / weights.sum()


def _one_minus_cosine(target: Tensor, predicted: Tensor, channels: int, weights: Tensor | None) -> Tensor:
    return 1 - mean(F.cosine_similarity(target, predicted, dim=channels), weights)


def _mean_squared_error(target: Tensor, predicted: Tensor, channels: int, weights: Tensor | None) -> Tensor:
    if weights is None:
        return F.mse_loss(predicted, target)
    return mean((predicted - target).square().mean(channels), weights)


TERMS: dict[str, LossTerm] = {
    "cosine": LossTerm(
        _one_minus_cosine,
        "1 - cosine",
        "how far the features' directions are from the denoised targets'",
    ),
    "mse": LossTerm(
        _mean_squared_error,
        "mean squared error",
        "how far the features themselves are from the targets",
    ),
}
"""What is summed, in this order. Curves, validation, figures and pages show whatever stands here."""


@dataclass(frozen=True)
class DistillationLoss:
    """The terms, each a scalar tensor, and their sum."""

    terms: Mapping[str, Scalar]

    @property
    def cosine(self) -> Scalar:
        return self.terms["cosine"]

    @property
    def mse(self) -> Scalar:
        return self.terms["mse"]

    @functools.cached_property
    def total(self) -> Scalar:
        return functools.reduce(operator.add, self.terms.values())

    @property
    def parts(self) -> dict[str, Scalar]:
        """The terms and `total`, by name."""
        return {**self.terms, "total": self.total}


def distillation_loss(target: Tensor, predicted: Tensor, weights: Tensor | None = None) -> DistillationLoss:
    """How far predicted dense features are from their targets, both un-normalised.

    Both are maps [B, C, h, w], or tokens [..., P, C] with the channels last. Computed in float32.
    Terms: 1 - cosine over the channels, mean over patches; squared error, mean over all elements.
    `weights`: of the patches in these means, [B, h, w] or [..., P], as from `certainty_weights`; without them
    all are alike. Raises `ConfigError` if the shapes differ.
    """
    if target.shape != predicted.shape:
        raise ConfigError(
            "Target and prediction differ in shape",
            expected=f"the target's {list(target.shape)}",
            found=f"{list(predicted.shape)} predicted",
        )
    channels = 1 if target.ndim == 4 else -1
    if weights is not None and weights.shape != target.sum(channels).shape:
        raise ConfigError(
            "The weights do not fit the features",
            expected=f"one a patch, {list(target.sum(channels).shape)}",
            found=str(list(weights.shape)),
        )
    target, predicted = target.float(), predicted.float()
    terms = {name: term.of(target, predicted, channels, weights) for name, term in TERMS.items()}
    return DistillationLoss(terms)
