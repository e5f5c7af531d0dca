"""`refined_views`: the paper's views and forward passes, combined with more care than by a mean.

Of each view, tokens that are outliers there are left out (`outliers.py`; norms are those of what the last
block is given, whatever the read-out). What is left of a patch is combined by its mean, by the mean of each
channel without its extremes, by its median, or by a mean weighted by agreement: the cosine of a view's
feature to the mean of the patch's others, each of length 1, to the power `SHARPNESS` (below 0: none). A
patch of which nothing would be left keeps all its views.

Shapes: B batch, n views, P patches, C width of the features.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Bool, Float
from torch import Tensor

from phreg.config.denoisers import RefinedViewsConfig
from phreg.method.denoiser import Denoiser
from phreg.method.outliers import outliers
from phreg.method.view_features import placed, view_features
from phreg.method.views import Views
from phreg.models import Backbone

SHARPNESS = 8


class RefinedViews(Denoiser[RefinedViewsConfig]):
    """Outliers left out, the rest combined."""

    def features(
        self, backbone: Backbone, images: Float[Tensor, "B 3 H W"], views: Views
    ) -> Float[Tensor, "B P C"]:
        norms: list[Tensor] = []
        features, seen = view_features(
            backbone, images, views, lambda tokens: norms.append(tokens.norm(dim=-1))
        )
        before_last = norms[max(len(norms) - 2, 0)].float().unflatten(0, seen.shape[:2])
        at_patches = placed(before_last[..., None], views, backbone.grid_of(images))[0][..., 0]
        return combined(features, self._kept(at_patches, seen), self.config)

    def _kept(self, norms: Float[Tensor, "B n P"], seen: Bool[Tensor, "B n P"]) -> Bool[Tensor, "B n P"]:
        if self.config.outlier_factor is None:
            return seen
        kept = seen & ~outliers(torch.where(seen, norms, torch.nan), self.config.outlier_factor)
        return torch.where(kept.any(1, keepdim=True), kept, seen)


def combined(
    features: Float[Tensor, "B n P C"], kept: Bool[Tensor, "B n P"], config: RefinedViewsConfig
) -> Float[Tensor, "B P C"]:
    """One feature a patch from those of its views that are kept, at least one."""
    if config.combine == "mean":
        return _mean(features, kept)
    if config.combine == "agreement":
        return _agreeing(features, kept)
    return _inner_mean(features, kept, config.trim or 0.5)


def _mean(features: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept[..., None], features, 0.0).sum(1) / kept.sum(1)[..., None]


def _agreeing(features: Tensor, kept: Tensor) -> Tensor:
    own = torch.where(kept[..., None], features, 0.0)
    unit = F.normalize(own, dim=-1)
    others = unit.sum(1, keepdim=True) - unit
    weights = kept * F.cosine_similarity(unit, others, dim=-1).clamp(min=0) ** SHARPNESS
    weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, kept.float())[..., None]
    return (weights * own).sum(1) / weights.sum(1)


def _inner_mean(features: Tensor, kept: Tensor, trim: float) -> Tensor:
    """The mean of each channel without the share `trim` of its smallest and of its largest values; at a half,
    the median: of an even number the mean of the two in the middle."""
    ordered = torch.where(kept[..., None], features, torch.inf).sort(1).values
    count = kept.sum(1)[:, None, :, None]
    cut = torch.minimum((trim * count).floor(), (count - 1) // 2)
    place = torch.arange(features.shape[1], device=features.device)[:, None, None]
    inner = (place >= cut) & (place < count - cut)
    return torch.where(inner, ordered, 0.0).sum(1) / inner.sum(1)
