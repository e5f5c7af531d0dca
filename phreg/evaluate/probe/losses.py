"""What the heads minimise. Pixels that do not count have no part in either loss, nor in their number."""

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float, UInt8
from torch import Tensor

from phreg.evaluate.probe.heads import MIN_DEPTH, resize
from phreg.evaluate.scores import IGNORE

_EPSILON = 1e-3  # metres, added before the logarithm
_MEAN_WEIGHT = 0.15


def segmentation_loss(logits: Float[Tensor, "B K h w"], labels: UInt8[Tensor, "B H W"]) -> Float[Tensor, ""]:
    """Cross entropy of logits resized to the labels, the mean over pixels not labelled 255; 0 without any."""
    per_pixel = F.cross_entropy(
        resize(logits, labels.shape[1:]), labels.long(), ignore_index=IGNORE, reduction="sum"
    )
    return per_pixel / (labels != IGNORE).sum().clamp(min=1)


def sig_log_loss(
    predicted: Float[Tensor, "B H W"], depth: Float[Tensor, "B H W"], max_depth: float
) -> Float[Tensor, ""]:
    """Scale-invariant logarithmic loss: sqrt(var(g) + 0.15 mean(g)^2), g = log predicted - log measured.

    Over all pixels of a batch measured between 1 mm and `max_depth` metres; 0 with less than two. Source:
    AdaBins, as DINOv2 uses it. DINOv2 names a gradient loss beside it; its published one takes differences
    along batch and channel, of which there is nothing to take at two images per GPU, so this is what trained.
    """
    counted = (depth > MIN_DEPTH) & (depth < max_depth)
    if counted.sum() < 2:
        return predicted.sum() * 0
    g = (predicted[counted] + _EPSILON).log() - (depth[counted] + _EPSILON).log()
    return torch.sqrt(g.var() + _MEAN_WEIGHT * g.mean().square() + 1e-12)  # the root of 0 has no slope
