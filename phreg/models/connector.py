"""`Connector`: from the features of a student to the space of its targets, which another network made."""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from phreg.seeding import Draws


class Connector(nn.Module):
    """A linear map of channels [C to T] at each patch, then bilinear resampling to the targets' grid (h, w).

    It is trained with the student and stored beside it. The student's features are its own without it.
    """

    def __init__(self, channels: int, target_channels: int, grid: tuple[int, int], seed: int = 0) -> None:
        super().__init__()
        start = Draws(seed, "connector").centred(target_channels, channels) * channels**-0.5
        self.weight = nn.Parameter(torch.from_numpy(start).float())
        self.bias = nn.Parameter(torch.zeros(target_channels))
        self.grid = grid

    @property
    def target_shape(self) -> tuple[int, int, int]:
        """Grid (h, w) and channels T of what it gives."""
        return (*self.grid, self.weight.shape[0])

    def channels(self, features: Float[Tensor, "B C y x"]) -> Float[Tensor, "B T y x"]:
        """The linear map alone."""
        return F.linear(features.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)

    def forward(self, features: Float[Tensor, "B C y x"]) -> Float[Tensor, "B T h w"]:
        out = self.channels(features)
        if tuple(out.shape[-2:]) == self.grid:
            return out
        return F.interpolate(out, self.grid, mode="bilinear", antialias=True, align_corners=False)
