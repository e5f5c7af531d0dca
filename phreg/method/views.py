"""Views: the patch shifts and flips under which the teacher sees a crop (paper section 3.2).

A view is (dy, dx, flip). Shift first, `view[y, x] = crop[y + dy, x + dx]` in patches, rows first, no
wrap-around; then the mirror, along the width.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from phreg.errors import ConfigError
from phreg.seeding import Draws

CANDIDATES_PER_VIEW = 10  # the reference draws 10 n offsets and keeps the n most spread out


@dataclass(frozen=True, eq=False)
class Views:
    """n views shared by a batch (`offsets [n, 2]`, `flips [n]`) or one set per image (`[B, n, 2]`, `[B, n]`).

    Offsets are (dy, dx) in patches; anything array-like is taken. Raises `ConfigError` where the two
    do not fit together.
    """

    offsets: npt.NDArray[np.int64]
    flips: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        offsets, flips = np.asarray(self.offsets), np.asarray(self.flips)
        if offsets.ndim not in (2, 3) or offsets.shape[-1] != 2 or flips.shape != offsets.shape[:-1]:
            raise ConfigError(
                "The views' offsets and flips do not fit together",
                expected="offsets [n, 2] with flips [n], or offsets [B, n, 2] with flips [B, n]",
                found=f"offsets {list(offsets.shape)} with flips {list(flips.shape)}",
            )
        if offsets.shape[-2] == 0:
            raise ConfigError("There are no views", expected="at least one view", found="n = 0")
        whole = offsets.astype(np.int64)
        if not np.array_equal(whole, offsets):
            raise ConfigError("The views' offsets are not whole numbers of patches", expected="integers")
        object.__setattr__(self, "offsets", whole)
        object.__setattr__(self, "flips", flips.astype(np.bool_))

    def __len__(self) -> int:
        """The number of views per image, n."""
        return int(self.offsets.shape[-2])

    def __getitem__(self, images: slice) -> "Views":
        """The views of some of a batch's images; shared views stay as they are."""
        return Views(self.offsets[images], self.flips[images]) if self.per_image else self

    @property
    def per_image(self) -> bool:
        """Whether each image of a batch has views of its own."""
        return self.offsets.ndim == 3

    def for_batch(self, size: int) -> "Views":
        """The same views with a batch axis of `size`."""
        if not self.per_image:
            return Views(np.repeat(self.offsets[None], size, 0), np.repeat(self.flips[None], size, 0))
        if len(self.offsets) != size:
            raise ConfigError(
                "The views do not fit the batch",
                expected=f"one set of views for each of {size} images, or one for all",
                found=f"{len(self.offsets)} sets",
            )
        return self


def stack_views(views: list[Views]) -> Views:
    """One set of views per image, as a batch."""
    return Views(np.stack([v.offsets for v in views]), np.stack([v.flips for v in views]))


def sample_views(grid: int | tuple[int, int], n: int = 10, max_shift: float = 0.15, seed: int = 0) -> Views:
    """Draw n views for a patch grid: view 0 as it is, the others spread out by farthest point sampling.

    Args:
        grid: patches per side, or (rows, columns).
        n: number of views, the unshifted one included.
        max_shift: largest shift as a fraction of the grid's side; s = round(max_shift * side) patches.
        seed: equal arguments give equal views.

    Offsets: 10 n integer pairs drawn from [-s, s]^2, of which n - 1 are kept. Flips: a fair coin a view.
    Source: paper section 3.2; the reference implementation's view sampler.
    """
    sides = (grid, grid) if isinstance(grid, int | np.integer) else tuple(grid)
    if len(sides) != 2 or any(side != int(side) for side in sides):
        raise ConfigError("A patch grid has two sides", "a whole number, or (rows, columns)", str(grid))
    rows, columns = int(sides[0]), int(sides[1])
    if n < 1 or rows < 1 or columns < 1:
        raise ConfigError(
            "These views cannot be drawn",
            expected="n >= 1 on a grid of at least 1 x 1",
            found=f"n = {n}, grid {rows} x {columns}",
        )
    if not 0 <= max_shift < 1:
        raise ConfigError("max_shift is out of range", expected="0 <= max_shift < 1", found=str(max_shift))
    draws = Draws(seed, "views", rows, columns, n, repr(float(max_shift)))
    reach = (round(max_shift * rows), round(max_shift * columns))
    candidates = np.stack([draws.integers(-side, side, CANDIDATES_PER_VIEW * n) for side in reach], 1)
    flips = draws.coins(n)
    flips[0] = False
    return Views(_spread_out(candidates, n), flips)


def _spread_out(candidates: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """(0, 0), then n - 1 times the candidate farthest from all chosen before (first of equals)."""
    chosen = [np.zeros(2, np.int64)]
    distance = (candidates**2).sum(-1)
    for _ in range(n - 1):
        farthest = candidates[int(distance.argmax())]
        chosen.append(farthest)
        distance = np.minimum(distance, ((candidates - farthest) ** 2).sum(-1))
    return np.stack(chosen)
