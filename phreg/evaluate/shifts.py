"""The patch shifts under which consistency is measured."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from phreg.errors import ConfigError
from phreg.seeding import Draws


def draw_shifts(grid: tuple[int, int], count: int, max_shift: float, seed: int) -> Int[Tensor, "s 2"]:
    """Distinct shifts (dy, dx) in patches, none of them (0, 0), drawn evenly from [-r, r]^2.

    r = round(max_shift * side), and at least 1 where the side has two patches, so that small grids are
    measured too. Gives `count` shifts, or all there are if they are fewer. Equal arguments give equal
    shifts. Raises `ConfigError` for a grid of one patch.
    """
    rows, columns = (min(max(round(max_shift * side), 1), side - 1) for side in grid)
    every = np.array(
        [
            (dy, dx)
            for dy in range(-rows, rows + 1)
            for dx in range(-columns, columns + 1)
            if (dy, dx) != (0, 0)
        ],
        dtype=np.int64,
    )
    if not len(every):
        raise ConfigError(
            "Shift consistency cannot be measured on a single patch",
            expected="a grid of at least two patches",
            found=f"{grid[0]} x {grid[1]}",
            remedy="use a larger image_size",
        )
    draws = Draws(seed, "evaluation shifts", *grid, count, repr(float(max_shift)))
    return torch.from_numpy(every[draws.permutation(len(every))[:count]])
