"""The distillation loss (paper section 3.3): (1 - cosine) + MSE, a patch each, then the mean."""

from typing import NamedTuple

import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from torch import Tensor

from phreg.errors import ConfigError

Scalar = Float[Tensor, ""]


class DistillationLoss(NamedTuple):
    """The terms and their sum, each a scalar tensor."""

    cosine: Scalar
    mse: Scalar
    total: Scalar


def distillation_loss(target: Tensor, predicted: Tensor) -> DistillationLoss:
    """How far predicted dense features are from their targets, both un-normalised.

    Both are maps [B, C, h, w], or tokens [..., P, C] with the channels last. Computed in float32.
    Terms: 1 - cosine over the channels, mean over patches; squared error, mean over all elements.
    Raises `ConfigError` if the shapes differ.
    """
    if target.shape != predicted.shape:
        raise ConfigError(
            "Target and prediction differ in shape",
            expected=f"the target's {list(target.shape)}",
            found=f"{list(predicted.shape)} predicted",
        )
    channels = 1 if target.ndim == 4 else -1
    target, predicted = target.float(), predicted.float()
    cosine = 1 - F.cosine_similarity(target, predicted, dim=channels).mean()
    mse = F.mse_loss(predicted, target)
    return DistillationLoss(cosine, mse, cosine + mse)
