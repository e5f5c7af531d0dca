"""One look at images: their features, the norms on the way to them, and what of these are artifacts."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from phreg.evaluate.artifacts import artifacts, norm_ratio
from phreg.evaluate.measures import shift_cosines, token_norms
from phreg.method.view_features import placement_indices, view_features
from phreg.method.views import Views
from phreg.models import Backbone


class Look(NamedTuple):
    """What a network of L blocks makes of images. The L + 1 stages are its blocks, before the final norm, and
    then the features, after it (and CLIP's projection).

    `shift_cosines`: see `measures.shift_cosines`.
    """

    features: Float[Tensor, "B C h w"]
    norms: Float[Tensor, "B stages h w"]
    artifacts: Bool[Tensor, "B stages h w"]
    shift_cosines: Float[Tensor, "B k"]

    @property
    def norm_ratios(self) -> Float[Tensor, "B stages"]:
        """Of each stage the largest norm over the median."""
        return norm_ratio(self.norms)

    @property
    def artifact_rates(self) -> Float[Tensor, "B stages"]:
        """Of each stage the share of tokens that are artifacts."""
        return self.artifacts.double().mean((-2, -1))

    def cpu(self) -> "Look":
        return Look(*(part.cpu() for part in self))


def telling_block(looks: Sequence[Look]) -> int:
    """Index of the block after which there are most artifacts; without any, of the last."""
    rates = torch.cat([seen.artifact_rates for seen in looks]).mean(0)[:-1]
    return int(rates.argmax()) if rates.any() else len(rates) - 1


def look(backbone: Backbone, images: Float[Tensor, "B 3 H W"], shifts: Int[Tensor, "s 2"]) -> Look:
    """Look at normalised images as they are, and shifted by (dy, dx) patches to tell artifacts from content.

    `shifts`, on the CPU, holds at least one, and not (0, 0). Nothing is mirrored. One forward pass of s + 1
    views an image. Raises `NonFiniteError`.
    """
    offsets = torch.cat([torch.zeros(1, 2, dtype=shifts.dtype), shifts])
    views = Views(offsets.numpy(), torch.zeros(len(offsets), dtype=torch.bool).numpy())
    grid, per_image = backbone.grid_of(images), (len(images), len(offsets))
    watched: list[Float[Tensor, "B n P"]] = []
    features, seen = view_features(
        backbone, images, views, lambda tokens: watched.append(token_norms(tokens).unflatten(0, per_image))
    )
    place = torch.from_numpy(placement_indices(views.for_batch(len(images)), grid)).to(images.device)
    stages = [norms.gather(2, place.clamp(min=0)) for norms in watched] + [token_norms(features)]
    maps = [norms.where(seen, torch.nan).unflatten(2, grid) for norms in stages]
    return Look(
        features=features[:, 0].transpose(1, 2).unflatten(2, grid),
        norms=torch.stack([norms[:, 0] for norms in maps], 1),
        artifacts=torch.stack([artifacts(norms) for norms in maps], 1),
        shift_cosines=shift_cosines(features, seen),
    )
