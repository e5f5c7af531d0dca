"""Measures of artifacts in dense features that need no labels: pure functions of tensors.

Shapes: B images, C channels, h w patches, P = h w (row-major), s shifts.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from phreg.denoising import check_finite, view_features
from phreg.models import Backbone
from phreg.views import Views

OUTLIER_MADS = 5.0
MAD_TO_STD = 1.4826
"""Scales a median absolute deviation to the standard deviation of a normal distribution."""
SMALLEST_SPREAD = 1e-5
"""Relative to the median: norms closer to it than this are equal up to rounding, and never outliers."""


def token_norms(features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B P"]:
    """L2 norm of each token's features, in float64. Raises `NonFiniteError`."""
    check_finite(features, "dense features")
    return features.double().flatten(2).norm(dim=1)


def outliers(norms: Float[Tensor, "B P"]) -> Bool[Tensor, "B P"]:
    """Tokens more than 5 scaled MADs from their image's median norm, on either side.

    Where more than half of the norms are equal the MAD is 0; then every token counts whose norm differs
    from the median by more than rounding does (`SMALLEST_SPREAD`).
    """
    median = norms.quantile(0.5, dim=1, keepdim=True)
    deviation = (norms - median).abs()
    spread = MAD_TO_STD * deviation.quantile(0.5, dim=1, keepdim=True)
    return deviation > torch.maximum(OUTLIER_MADS * spread, SMALLEST_SPREAD * median)


def outlier_rate(features: Float[Tensor, "B C h w"]) -> Float[Tensor, " B"]:
    """Share of each image's tokens with an outlying norm, see `outliers`. Raises `NonFiniteError`."""
    return outliers(token_norms(features)).double().mean(dim=1)


def shift_cosines(
    backbone: Backbone, images: Float[Tensor, "B 3 H W"], shifts: Int[Tensor, "s 2"]
) -> Float[Tensor, "B k"]:
    """Cosines between an image's features and those of the same content seen shifted, nothing mirrored.

    `shifts` are (dy, dx) in patches, on the CPU. Compared are the patches that a shifted view still sees;
    k counts them over all shifts, in the shifts' order, and is the same for every image. Runs s + 1 views
    an image in one forward pass. Raises `NonFiniteError`.
    """
    offsets = torch.cat([torch.zeros(1, 2, dtype=shifts.dtype), shifts])
    views = Views(offsets.numpy(), torch.zeros(len(offsets), dtype=torch.bool).numpy())
    features, seen = view_features(backbone, images, views)
    cosines = functional.cosine_similarity(features[:, :1], features[:, 1:], dim=-1)
    return cosines[seen[:, 1:]].reshape(len(images), -1)


def target_cosines(
    target: Float[Tensor, "B P C"], features: Float[Tensor, "B C h w"]
) -> Float[Tensor, "B P"]:
    """Cosine between each token's features and its target. Raises `NonFiniteError`."""
    check_finite(target, "targets")
    check_finite(features, "dense features")
    return functional.cosine_similarity(target, features.flatten(2).transpose(1, 2), dim=-1)
