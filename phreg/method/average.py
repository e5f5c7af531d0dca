"""`views`: the average of a crop's un-shifted features over its views (paper section 3.2)."""

from jaxtyping import Float
from torch import Tensor

from phreg.config.denoisers import ViewsConfig
from phreg.method.denoiser import Denoiser
from phreg.method.view_features import view_features
from phreg.method.views import Views
from phreg.models import Backbone


class Average(Denoiser[ViewsConfig]):
    """The mean over the views that saw a patch."""

    def features(
        self, backbone: Backbone, images: Float[Tensor, "B 3 H W"], views: Views
    ) -> Float[Tensor, "B P C"]:
        features, seen = view_features(backbone, images, views)
        return features.sum(1) / seen.sum(1)[..., None]
