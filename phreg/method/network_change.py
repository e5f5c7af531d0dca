"""`NetworkChange`: denoisers that do something to the network, and hand on to another for what is left."""

from abc import abstractmethod
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from jaxtyping import Float
from torch import Tensor

from phreg.config.denoisers import ChangeConfig
from phreg.method.denoiser import Denoiser, Estimate
from phreg.method.views import Views
from phreg.models import Backbone

Described = TypeVar("Described", bound=ChangeConfig)


class NetworkChange(Denoiser[Described], Generic[Described]):
    """Its features are those that `then` makes of the changed network: by default, one pass."""

    def __init__(self, config: Described, then: Denoiser[Any]) -> None:
        super().__init__(config)
        self.then = then
        self._changed: WeakKeyDictionary[Backbone, Backbone] = WeakKeyDictionary()

    @abstractmethod
    def found(self, backbone: Backbone, images: Float[Tensor, "N 3 H W"]) -> Described:
        """The description with what is found on calibration images, one by one."""

    @abstractmethod
    def change(self, backbone: Backbone) -> Backbone:
        """A changed copy that shares the network's weights (`models/sharing.py`)."""

    def features(
        self, backbone: Backbone, images: Float[Tensor, "B 3 H W"], views: Views
    ) -> Float[Tensor, "B P C"]:
        features: Tensor = self.then.features(self.changed(backbone), images, views)
        return features

    def estimate(self, backbone: Backbone, images: Float[Tensor, "B 3 H W"], views: Views) -> Estimate:
        return self.then.estimate(self.changed(backbone), images, views)

    def changed(self, backbone: Backbone) -> Backbone:
        """The copy, made once for each network and device."""
        there = self._changed.get(backbone)
        if there is None or there.mean.device != backbone.mean.device:
            there = self._changed[backbone] = self.change(backbone).eval()
        return there

    def check(self, backbone: Backbone) -> None:
        self.then.check(backbone)

    def fitting_flops(self, channels: int, patches: int) -> float:
        return self.then.fitting_flops(channels, patches)

    def calibrated(self, backbone: Backbone, images: Float[Tensor, "N 3 H W"]) -> Described:
        own = self.found(backbone, images) if self.config.own_images else self.config
        changed = type(self)(own, self.then).change(backbone)
        return own.model_copy(update={"then": self.then.calibrated(changed, images)})
