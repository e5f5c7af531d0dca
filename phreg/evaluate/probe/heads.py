"""The heads: batch norm and one linear map per patch, as DINOv2 probes frozen features.

Shapes: B images, C channels, K classes, h w patches.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from torch import Tensor, nn

DEPTH_BINS = 256
MIN_DEPTH = 1e-3
"""Metres. Smaller depths are not predicted, and pixels whose depth is not above it do not count."""
UPSAMPLE = 4
"""Targets and depth maps have so many times the patches' resolution."""

_LEAST_WEIGHT = 0.1  # of a bin
_START_STD = 0.01  # of weights, as mmsegmentation starts its last convolution


class LinearHead(nn.Module):
    """Batch norm and a 1x1 convolution: features to one value per patch and output.

    The norm's statistics for prediction are the mean over all training batches (DINOv2: a running mean of
    the last ones); a probe of frozen features has the same input from first to last.
    """

    def __init__(self, channels: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, momentum=None)
        self.linear = nn.Conv2d(channels, outputs, kernel_size=1)
        with torch.no_grad():
            self.linear.weight.normal_(0, _START_STD, generator=generator)
            self.linear.bias.zero_()  # type: ignore[union-attr]

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B K h w"]:
        out: Tensor = self.linear(self.norm(features))
        return out


class DepthHead(nn.Module):
    """Depth as the mean of bins, each weighted by its logit: DINOv2's "lin. 1" after batch norm.

    256 bins uniform from 1 mm to `max_depth` metres. A bin's weight is its logit, cut at zero, plus 0.1; the
    weights are divided by their sum ("linear normalisation", AdaBins). Depth has four times the patches'
    resolution. It differs from DINOv2 in three ways: the batch norm, which makes one learning rate fit
    features of any scale; no class token beside the patches, which not every backbone has; and weights are
    resized, not logits: the sums over bins are linear in them, so 2 maps are resized instead of 256.
    """

    bins: Tensor

    def __init__(self, channels: int, max_depth: float, generator: torch.Generator) -> None:
        super().__init__()
        self.logits = LinearHead(channels, DEPTH_BINS, generator)
        self.register_buffer("bins", torch.linspace(MIN_DEPTH, max_depth, DEPTH_BINS))

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 4*h 4*w"]:
        weights = self.logits(features).relu() + _LEAST_WEIGHT
        sums = F.conv2d(weights, torch.stack([self.bins, torch.ones_like(self.bins)])[:, :, None, None])
        total, weight = resize(sums, [UPSAMPLE * side for side in features.shape[-2:]]).unbind(1)
        return total / weight


def resize(maps: Float[Tensor, "B K h w"], size: Any) -> Float[Tensor, "B K H W"]:
    """Bilinear, corners not aligned."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
