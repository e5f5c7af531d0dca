"""`views`: the average of a crop's un-shifted features over its views (paper section 3.2)."""

from jaxtyping import Bool, Float
from torch import Tensor

from phreg.config.denoisers import ViewsConfig
from phreg.method.certainty import variance_of_mean
from phreg.method.denoiser import Denoiser, Estimate
from phreg.method.view_features import view_features
from phreg.method.views import Views
from phreg.models import Backbone


class Average(Denoiser[ViewsConfig]):
    """The mean over the views that saw a patch."""

    def features(
        self, backbone: Backbone, images: Float[Tensor, "B 3 H W"], views: Views
    ) -> Float[Tensor, "B P C"]:
        return _mean(*view_features(backbone, images, views))

    def estimate(self, backbone: Backbone, images: Float[Tensor, "B 3 H W"], views: Views) -> Estimate:
        features, seen = view_features(backbone, images, views)
        mean = _mean(features, seen)
        return Estimate(mean, variance_of_mean(features, seen, mean))


def _mean(features: Float[Tensor, "B n P C"], seen: Bool[Tensor, "B n P"]) -> Float[Tensor, "B P C"]:
    return features.sum(1) / seen.sum(1)[..., None]
