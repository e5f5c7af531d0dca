"""`Denoiser`: what every way of cleaning features is to those that use it.

Shapes: B batch, P = h w patches (row-major), C width of the features.
"""

from abc import ABC, abstractmethod
from typing import Generic, NamedTuple, TypeVar

from jaxtyping import Float
from torch import Tensor

from phreg.config.denoisers import DenoiserConfig
from phreg.errors import ConfigError
from phreg.method.views import Views
from phreg.models import Backbone

Described = TypeVar("Described", bound=DenoiserConfig)


class Estimate(NamedTuple):
    """Clean features, and how sure each token is (`certainty.py` says what the variance is of)."""

    features: Float[Tensor, "B P C"]
    variance: Float[Tensor, "B P"]


class Denoiser(ABC, Generic[Described]):
    """One description at work. Kept between calls, for any number of networks; no gradients are wanted."""

    def __init__(self, config: Described) -> None:
        self.config = config

    @abstractmethod
    def features(
        self, backbone: Backbone, images: Float[Tensor, "B 3 H W"], views: Views
    ) -> Float[Tensor, "B P C"]:
        """Clean features, in float32, of normalised images: few enough for one forward pass with all views.

        `views` has a set for each image, as many as the description says or as the caller chose; each patch
        is in one of them at least. On a CPU no value may depend on the other images. Raises `NonFiniteError`.
        """

    def estimate(self, backbone: Backbone, images: Float[Tensor, "B 3 H W"], views: Views) -> Estimate:
        """The same features, bit for bit, with their variance. Raises `ConfigError` where there is none: the
        description says so (`has_variance`)."""
        raise ConfigError(f"{self.config.title}: its features come without a variance")

    def check(self, backbone: Backbone) -> None:
        """Raise `ConfigError` if this network cannot be cleaned so. Asked before anything is computed."""

    def fitting_flops(self, channels: int, patches: int) -> float:
        """FLOPs for each image beside its forward passes, of features [patches, channels]."""
        return 0.0

    def calibrated(self, backbone: Backbone, images: Float[Tensor, "N 3 H W"]) -> Described:
        """The description with what it needs to know of this network, found on these images. The same input
        gives the same answer. Raises `ConfigError` if they do not show it."""
        return self.config
