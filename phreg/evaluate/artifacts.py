"""Artifact tokens: patches that a network uses as scratch space, told by the norms of their tokens.

Darcet et al. (arXiv 2309.16588, section 2) found them as tokens of large norm in the last blocks of trained
ViTs, apart from all others of their image. Whole objects may have larger norms than what is around them, and
are content. So a token of a view is an artifact if its norm is large three times over:

- for its image: above `FACTOR` times the median, and `MADS` scaled median absolute deviations from it;
- among its neighbours: above `FACTOR` times the median of a window around it;
- among views of the same content, shifted: above `VIEW_FACTOR` times the least that a view gives that patch.
  A patch that no other view saw passes.

Norms below the median are never artifacts. How the bounds were chosen: benchmarks/README.md.

Shapes: n views, the first of them the image as it is; h w patches; NaN where a view did not see a patch.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor

FACTOR = 2.0
MADS = 5.0
VIEW_FACTOR = 1.5
MAD_TO_STD = 1.4826
"""Scales a median absolute deviation to the standard deviation of a normal distribution."""
LARGEST_RATIO = 1e6
"""Where nearly all tokens are zero, the others are this many times as large, not infinitely many."""


def artifacts(norms: Float[Tensor, "*batch n h w"]) -> Bool[Tensor, "*batch h w"]:
    """Which tokens of the first view are artifacts."""
    own = norms[..., 0, :, :]
    found = _large_for_the_image(own)
    found[found.clone()] = _large_among_neighbours(own, found)
    return found & ~_steady(norms)


def norm_ratio(norms: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch"]:
    """The largest norm over the median; 1 where all are zero."""
    return torch.where(norms.amax((-2, -1)) > 0, relative(norms).amax((-2, -1)), 1.0)


def relative(norms: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """Norms over their median, at most `LARGEST_RATIO`."""
    return norms / _typical(norms)


def _typical(norms: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch 1 1"]:
    """The median norm, made larger where it would be zero."""
    tokens = norms.flatten(-2)
    typical = torch.maximum(tokens.quantile(0.5, dim=-1), tokens.amax(-1) / LARGEST_RATIO)
    return torch.where(typical > 0, typical, 1.0)[..., None, None]


def _large_for_the_image(norms: Float[Tensor, "*batch h w"]) -> Bool[Tensor, "*batch h w"]:
    typical = _typical(norms)
    spread = MAD_TO_STD * (norms - typical).abs().flatten(-2).quantile(0.5, dim=-1)[..., None, None]
    return (norms > FACTOR * typical) & (norms > typical + MADS * spread)


def _large_among_neighbours(
    norms: Float[Tensor, "*batch h w"], chosen: Bool[Tensor, "*batch h w"]
) -> Bool[Tensor, " k"]:
    """For the k chosen tokens; one without neighbours is not large among them.

    The window grows with the grid, as artifacts do: on a larger grid several stand side by side.
    """
    reach = max(2, min(norms.shape[-2:]) // 8)
    padded = F.pad(norms, (reach,) * 4, value=torch.nan)
    side = 2 * reach + 1
    windows = padded.unfold(-2, side, 1).unfold(-2, side, 1)[chosen].flatten(1)
    windows[:, side * side // 2] = torch.nan  # the token itself
    return norms[chosen] > FACTOR * windows.nanmedian(dim=1).values


def _steady(norms: Float[Tensor, "*batch n h w"]) -> Bool[Tensor, "*batch h w"]:
    """Patches that other views see, and all of them as large: their content is."""
    least = norms[..., 1:, :, :].nan_to_num(nan=torch.inf).amin(-3)
    return (norms[..., 0, :, :] <= VIEW_FACTOR * least) & least.isfinite()
