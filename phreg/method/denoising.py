"""Denoising: clean dense features of images, by the paper's views or another method of `DENOISERS`.

Shapes: B batch, N images for calibration, P = h w patches (row-major), C width of the features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor

from phreg.config.denoisers import ChangeConfig, DenoiserConfig, ViewsConfig, parse_denoiser
from phreg.errors import ConfigError
from phreg.method.average import Average
from phreg.method.denoiser import Denoiser
from phreg.method.dvt import Dvt
from phreg.method.network_change import NetworkChange
from phreg.method.position_subspace import PositionSubspace
from phreg.method.refined_views import RefinedViews
from phreg.method.test_time_registers import TestTimeRegisters
from phreg.method.view_features import check_coverage
from phreg.method.views import Views, sample_views
from phreg.models import Backbone

DENOISERS: dict[str, type[Denoiser[Any]]] = {
    "views": Average,
    "refined_views": RefinedViews,
    "dvt": Dvt,
    "test_time_registers": TestTimeRegisters,
    "position_subspace": PositionSubspace,
}
"""What each method of `denoiser_config.KNOWN` does."""

Method = str | Mapping[str, Any] | DenoiserConfig


@dataclass(frozen=True)
class Denoising:
    """A denoiser with a seed for its views: all images of one size get the same ones.

    Before it is used it is calibrated, on images that are always the same: a batch must not decide.
    """

    denoiser: DenoiserConfig = ViewsConfig()  # noqa: RUF009 (it is frozen)
    seed: int = 0

    @classmethod
    def of_views(cls, count: int = 10, max_shift: float = 0.15, seed: int = 0) -> "Denoising":
        return cls(ViewsConfig(views=count, max_shift=max_shift), seed)

    @property
    def forward_passes(self) -> int:
        """For each image."""
        return self.denoiser.forward_passes

    def features(self, backbone: Backbone, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        if self.denoiser.calibration_images:
            raise ConfigError(
                f"{self.denoiser.title}: it is not calibrated for this network",
                expected=f"what it needs to know, found on {self.denoiser.calibration_images} images",
                remedy="give what phreg.calibrate makes of it",
            )
        views = views_of(self.denoiser, backbone.grid_of(images), self.seed)
        return denoise(backbone, images, views, method=self.denoiser)

    def as_data(self) -> dict[str, Any]:
        """All that features depend on."""
        return {"denoiser": self.denoiser.model_dump(mode="json"), "seed": self.seed}


def denoise(
    backbone: Backbone,
    images: Float[Tensor, "B 3 H W"],
    views: Views | None = None,
    images_per_forward: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    method: Method = "views",
) -> Float[Tensor, "B C h w"]:
    """Dense features of normalised images, cleaned: by default, averaged in float32 over those of their views
    that saw each patch.

    Args:
        views: for all images, or a set for each; default: as many as the method asks for.
        images_per_forward: images (each with all its views) per forward pass. Default: 1 on CPU, so that a
            target does not depend on its batch; all of them elsewhere.
        on_progress: told (images done, images in all) after each forward pass.
        method: a name, a mapping as in a config (`{"method": "refined_views", "combine": "median"}`), or what
            `calibrate` gave. One that wants calibrating and is not is calibrated on these very images.

    Raises `ConfigError` for a method that there is not, that this network cannot be cleaned by, or if some
    patch is seen by no view, and `NonFiniteError` if a feature is NaN or Inf.
    """
    tokens = _tokens(backbone, images, views, images_per_forward, on_progress, method, with_variance=False)
    return _as_map(tokens[0], backbone.grid_of(images))


def denoise_with_variance(
    backbone: Backbone,
    images: Float[Tensor, "B 3 H W"],
    views: Views | None = None,
    images_per_forward: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    method: Method = "views",
) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B h w"]]:
    """As `denoise`, and the variance of each feature, mean over channels: its squared standard error, from
    how its views differ (`certainty.py`). Raises `ConfigError` for a method that has none.
    """
    tokens = _tokens(backbone, images, views, images_per_forward, on_progress, method, with_variance=True)
    grid = backbone.grid_of(images)
    return _as_map(tokens[0], grid), tokens[1].unflatten(1, grid)


def calibrate(
    backbone: Backbone, images: Float[Tensor, "N 3 H W"], method: Method = "views"
) -> DenoiserConfig:
    """A method with what it needs to know of a network, found on some normalised images, for `denoise`.

    Raises `ConfigError` if the network cannot be cleaned so, or the images do not show what is looked for.
    """
    denoiser = denoiser_of(described(method))
    denoiser.check(backbone)
    with torch.no_grad():
        found: DenoiserConfig = denoiser.calibrated(backbone, images)
    return found


def described(method: Method) -> DenoiserConfig:
    """A method's description. Raises `ConfigError`, which lists the methods, or the options of this one."""
    try:
        config: DenoiserConfig = parse_denoiser(method)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"]))
        raise ConfigError(f"There is no such method: {where or method!r}", detail["msg"]) from None
    return config


@lru_cache(maxsize=64)
def denoiser_of(config: DenoiserConfig) -> Denoiser[Any]:
    """A description at work; equal ones share what it keeps between calls."""
    kind = DENOISERS[config.method]
    if isinstance(config, ChangeConfig) and issubclass(kind, NetworkChange):
        return kind(config, denoiser_of(config.then))
    return kind(config)


def views_of(config: DenoiserConfig, grid: int | tuple[int, int], seed: int = 0) -> Views:
    """The views that a description asks for."""
    return sample_views(grid, config.view_count, config.view_shift, seed)


def _tokens(
    backbone: Backbone,
    images: Float[Tensor, "B 3 H W"],
    views: Views | None,
    images_per_forward: int | None,
    on_progress: Callable[[int, int], None] | None,
    method: Method,
    with_variance: bool,
) -> list[Tensor]:
    """Features [B, P, C] and, if it is wanted, their variance [B, P]."""
    config = described(method)
    if config.calibration_images:
        config = calibrate(backbone, images, config)
    denoiser, grid = denoiser_of(config), backbone.grid_of(images)
    denoiser.check(backbone)
    views = views_of(config, grid) if views is None else views
    check_coverage(views, grid)
    chunk = images_per_forward or (1 if images.device.type == "cpu" else len(images))
    per_image, patches = views.for_batch(len(images)), grid[0] * grid[1]
    parts: list[tuple[Tensor, ...]] = []
    with torch.no_grad():
        for start in range(0, len(images), max(chunk, 1)):
            end = min(start + chunk, len(images))
            given = backbone, images[start:end], per_image[start:end]
            parts.append(denoiser.estimate(*given) if with_variance else (denoiser.features(*given),))
            if on_progress is not None:
                on_progress(end, len(images))
    if not parts:
        empty = images.new_zeros(0, patches, backbone.out_dim, dtype=torch.float32)
        return [empty, empty[..., 0]]
    return [torch.cat(each) for each in zip(*parts, strict=True)]


def _as_map(tokens: Float[Tensor, "B P C"], grid: tuple[int, int]) -> Float[Tensor, "B C h w"]:
    maps: Tensor = tokens.transpose(1, 2).unflatten(2, grid)
    return maps.contiguous()
