"""Cosines of patches to names: a backbone's features on many inputs of one size, by one pass or denoised."""

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from torch import Tensor

from phreg.method.denoising import Denoising
from phreg.method.view_features import check_finite
from phreg.models import Backbone

PIXELS_PER_FORWARD = 1 << 20


@torch.no_grad()
def patch_cosines(
    backbone: Backbone,
    images: Float[Tensor, "B 3 H W"],
    embeddings: Float[Tensor, "names C"],
    denoising: Denoising | None = None,
) -> Float[Tensor, "B names h w"]:
    """Cosine of every patch's feature to every name, a bounded number of pixels per forward pass.

    Raises `NonFiniteError`.
    """
    at_once = max(PIXELS_PER_FORWARD // (images.shape[-2] * images.shape[-1]), 1)
    parts = [_cosines(backbone, part, embeddings, denoising) for part in images.split(at_once)]
    return torch.cat(parts)


def _cosines(
    backbone: Backbone, images: Tensor, embeddings: Tensor, denoising: Denoising | None
) -> Float[Tensor, "B names h w"]:
    if denoising is None:
        features = backbone(images).float()
        check_finite(features, "dense features")
    else:
        features = denoising.features(backbone, images)
    if backbone.connector is not None:  # to where the names are
        features = backbone.connector.channels(features)
    return torch.einsum("bchw,nc->bnhw", F.normalize(features, dim=1), embeddings)
