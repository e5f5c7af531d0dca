"""Artifacts at known places of a real network."""

from torch import Tensor, nn


class Planted(nn.Module):
    """A block whose output is large at fixed places of the grid, whatever the image shows."""

    def __init__(self, block: nn.Module, places: list[int], prefix: int, factor: float = 50.0) -> None:
        super().__init__()
        self.block, self.places, self.factor = block, [prefix + place for place in places], factor

    def forward(self, x: Tensor) -> Tensor:
        out = self.block(x).clone()
        out[:, self.places] *= self.factor
        return out
