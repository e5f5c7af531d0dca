"""`position_subspace`: the directions of feature space that tell where a patch is, projected out.

RASA of Franca (arXiv 2507.14137) predicts a patch's row and column from its feature by linear maps, trained
one after the other, and projects out the plane of each; SOAP (arXiv 2604.00172) projects out the principal
components that answer alike to any content. Both end as one linear map behind the network. The simplest that
does what they are for, in closed form: the covariance of features with functions of position is a direction
for each function, and once these are gone no linear map can tell those functions (spectral attribute removal:
Shao, Ziser and Cohen, 2022). The functions are cosines of row and of column, from the slowest on; at one
frequency they are nearly row and column themselves.

A direction is judged by images that it was not found on: below a squared correlation of `TOLD` it is chance,
and left alone.

Shapes: N images, P = h w patches, C width of the features, m functions, r directions.
"""

import base64

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from phreg.config.denoisers import PositionSubspaceConfig
from phreg.errors import ConfigError
from phreg.method.network_change import NetworkChange
from phreg.models import Backbone
from phreg.models.sharing import sharing_copy

TOLD = 0.01


class PositionSubspace(NetworkChange[PositionSubspaceConfig]):
    """Features without their positional directions: a linear map behind the final norm, or the projection."""

    def check(self, backbone: Backbone) -> None:
        if self.config.directions is not None and not _fits(self.config.directions, backbone.out_dim):
            raise ConfigError(
                "These directions are not of this network's features",
                expected=f"orthonormal vectors of {backbone.out_dim} float32 numbers, in base64",
                found=f"{len(self.config.directions)} letters that are not",
                remedy="leave out directions: they are found on images",
            )
        super().check(backbone)

    def found(self, backbone: Backbone, images: Float[Tensor, "N 3 H W"]) -> PositionSubspaceConfig:
        features = torch.stack([backbone(image[None])[0].flatten(1).T for image in images])
        directions = positional_directions(
            features.double().cpu(), backbone.grid_of(images), self.config.frequencies
        )
        return self.config.model_copy(update={"directions": packed(directions)})

    def change(self, backbone: Backbone) -> Backbone:
        copy = sharing_copy(backbone)
        assert self.config.directions is not None
        directions = unpacked(self.config.directions, backbone.out_dim).to(copy.mean.device)
        last = "head" if copy.projects else "fc_norm"
        setattr(copy.vit, last, nn.Sequential(getattr(copy.vit, last), _Without(directions)))
        return copy


class _Without(nn.Module):
    """x less its parts along some orthonormal directions."""

    directions: Tensor

    def __init__(self, directions: Float[Tensor, "r C"]) -> None:
        super().__init__()
        self.register_buffer("directions", directions, persistent=False)

    def forward(self, x: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch C"]:
        out: Tensor = x - (x @ self.directions.T) @ self.directions
        return out


def positional_directions(
    features: Float[Tensor, "N P C"], grid: tuple[int, int], frequencies: int
) -> Float[Tensor, "r C"]:
    """Orthonormal; chosen by every other image, then found on all. Raises `ConfigError` if there are none."""
    if len(features) < 2:
        raise ConfigError("One image says nothing of positions", "at least 2 images", str(len(features)))
    places = _cosines(grid, frequencies).to(features)
    told = _told(_covariance(features[::2], places), features[1::2], places)
    chosen = told >= TOLD
    if not chosen.any():
        raise ConfigError(
            "These features do not tell where a patch is",
            expected=f"a squared correlation of {TOLD:g} with row or column along some direction",
            found=f"{max(told.tolist(), default=0):.3f} on {len(features)} images",
            remedy="take another method, for instance views",
        )
    orthonormal: Tensor = torch.linalg.qr(_covariance(features, places)[:, chosen]).Q
    return orthonormal.T


def _covariance(features: Float[Tensor, "n P C"], places: Float[Tensor, "P m"]) -> Float[Tensor, "C m"]:
    """Of features with each function, whose mean is zero."""
    covariance: Tensor = features.mean(0).T @ places / len(places)
    return covariance


def _told(
    directions: Float[Tensor, "C m"], features: Float[Tensor, "n P C"], places: Float[Tensor, "P m"]
) -> Float[Tensor, " m"]:
    """Squared correlation of each function with the features along its direction."""
    along = (features - features.mean((0, 1))) @ directions
    variance = along.square().mean((0, 1)) * places.square().mean(0)
    squared = (along * places).mean((0, 1)).square()
    return torch.where(variance > 0, squared / variance, 0.0)


def _cosines(grid: tuple[int, int], frequencies: int) -> Float[Tensor, "P m"]:
    """cos(pi k (i + 1/2) / side) of row and of column, k from 1 on, as far as the side has so many."""
    found = []
    for axis, side in enumerate(grid):
        place = (torch.arange(side).double() + 0.5) / side
        for k in range(1, min(frequencies, side - 1) + 1):
            wave = torch.cos(torch.pi * k * place)
            found.append(wave[:, None].expand(grid) if axis == 0 else wave[None].expand(grid))
    return torch.stack(found, -1).flatten(0, 1) if found else torch.zeros(grid[0] * grid[1], 0)


def packed(directions: Float[Tensor, "r C"]) -> str:
    """As text, for specs: base64 of little-endian float32."""
    return base64.b64encode(directions.float().numpy().astype("<f4").tobytes()).decode()


def unpacked(text: str, width: int) -> Float[Tensor, "r C"]:
    """Raises `ValueError` if there are no so many numbers."""
    numbers = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    return torch.from_numpy(numbers.reshape(-1, width))


def _fits(text: str, width: int) -> bool:
    try:
        directions = unpacked(text, width)
    except ValueError:
        return False
    return torch.allclose(directions @ directions.T, torch.eye(len(directions)), atol=1e-3)
