"""Measures of dense features that need no labels: pure functions of tensors.

Shapes: B batch, n views (the first of them the crop as it is), P = h w patches, C width of the features.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from phreg.method.view_features import check_finite


def token_norms(tokens: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch"]:
    """L2 norm of each token, in float64. Raises `NonFiniteError`."""
    check_finite(tokens, "dense features")
    return torch.linalg.vector_norm(tokens, dim=-1, dtype=torch.float64)


def shift_cosines(features: Float[Tensor, "B n P C"], seen: Bool[Tensor, "B n P"]) -> Float[Tensor, "B k"]:
    """Cosines between a crop's features and those of the same content in its other views.

    Compared are the patches that a view saw; k counts them over all views, in the views' order, and is the
    same for every image, whose views are the same.
    """
    cosines = functional.cosine_similarity(features[:, :1], features[:, 1:], dim=-1)
    return cosines[seen[:, 1:]].reshape(len(features), -1)


def target_cosines(
    target: Float[Tensor, "B P C"], features: Float[Tensor, "B C h w"]
) -> Float[Tensor, "B P"]:
    """Cosine between each token's features and its target. Raises `NonFiniteError`."""
    check_finite(target, "targets")
    check_finite(features, "dense features")
    return functional.cosine_similarity(target, features.flatten(2).transpose(1, 2), dim=-1)
