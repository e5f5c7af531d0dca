"""How sure targets are: the variance of a mean over views, and what it weighs in a student's loss.

The variance of token p, of whose features f_v (C channels, un-shifted, float32, as averaged) n_p views are in
the mean t_p:

    variance_p = sum over v of |f_v - t_p|^2 / (C n_p (n_p - 1)),

the unbiased variance of one view's feature, mean over its channels, by n_p: the squared standard error of the
target, as of views drawn independently. A token that one view alone saw has no variance of its own: it gets
the average of the image's (weighted by n_p - 1), by n_p = 1; 0 if no token was seen twice.

Shapes: B batch, n views, P patches, C channels.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def variance_of_mean(
    features: Float[Tensor, "B n P C"], used: Bool[Tensor, "B n P"], mean: Float[Tensor, "B P C"]
) -> Float[Tensor, "B P"]:
    """The variance as above of the mean over the views that are used, at least one."""
    squares = torch.zeros_like(mean[..., 0])
    for view in range(features.shape[1]):  # one by one: all differences at once take as much as the features
        squares += used[:, view] * (features[:, view] - mean).square().mean(-1)
    count = used.sum(1)
    freedom = count - 1
    pooled = squares.sum(1, keepdim=True) / freedom.sum(1, keepdim=True).clamp(min=1)
    of_one_view = torch.where(freedom > 0, squares / freedom.clamp(min=1), pooled)
    return of_one_view / count


def certainty_weights(variance: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
    """Weights of an image's tokens in its loss: 1 / (variance + median over the image), scaled to mean 1.

    Inverse-variance weights with a floor, as of Batch Inverse-Variance (Mai et al., arXiv 2107.04497), which
    takes a fixed number for it. By the median a weight depends on no unit, and none is more than twice that
    of a typical token. Equal where all variances are equal, or 0.
    """
    relative = variance.double() / variance.amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    middle = relative.median(-1, keepdim=True).values
    weights = 1 / (relative + middle).clamp(min=1e-6)
    return (weights / weights.mean(-1, keepdim=True)).float()
