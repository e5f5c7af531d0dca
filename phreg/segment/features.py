"""Cosines of patches to names: a backbone's features on many inputs of one size, by one pass or by views."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from torch import Tensor

from phreg.denoising import check_finite, denoise
from phreg.models import Backbone
from phreg.views import sample_views

PIXELS_PER_FORWARD = 1 << 20


@dataclass(frozen=True)
class ViewPlan:
    """Test-time denoising: features are averaged over so many shifted and flipped views of each input.

    `max_shift` is a fraction of the grid's side. All inputs of one size get the same views.
    """

    count: int = 10
    max_shift: float = 0.15
    seed: int = 0


@torch.no_grad()
def patch_cosines(
    backbone: Backbone,
    images: Float[Tensor, "B 3 H W"],
    embeddings: Float[Tensor, "names C"],
    views: ViewPlan | None = None,
) -> Float[Tensor, "B names h w"]:
    """Cosine of every patch's feature to every name, a bounded number of pixels per forward pass.

    Raises `NonFiniteError`.
    """
    at_once = max(PIXELS_PER_FORWARD // (images.shape[-2] * images.shape[-1]), 1)
    parts = [_cosines(backbone, part, embeddings, views) for part in images.split(at_once)]
    return torch.cat(parts)


def _cosines(
    backbone: Backbone, images: Tensor, embeddings: Tensor, views: ViewPlan | None
) -> Float[Tensor, "B names h w"]:
    if views is None:
        features = backbone(images).float()
        check_finite(features, "dense features")
    else:
        drawn = sample_views(backbone.grid_of(images), views.count, views.max_shift, views.seed)
        features = denoise(backbone, images, drawn)
    return torch.einsum("bchw,nc->bnhw", F.normalize(features, dim=1), embeddings)
