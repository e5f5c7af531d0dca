"""The features of a crop's views, put back on the crop's grid (paper section 3.2).

Tokens are shifted, not pixels: the crop and its mirror image are patch-embedded once each, and every
view is an index into those tokens, with the embedding of a white patch for what lies outside. That is
exact, because shifts are whole patches and the embedding sees one patch at a time.

Shapes: B batch, n views, P = h w patches (row-major), C width of the features.
"""

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from phreg.errors import ConfigError, NonFiniteError
from phreg.method.views import Views
from phreg.models.backbone import Backbone, Watch

Grid = tuple[int, int]


def view_features(
    backbone: Backbone, images: Float[Tensor, "B 3 H W"], views: Views, watch: Watch | None = None
) -> tuple[Float[Tensor, "B n P C"], Bool[Tensor, "B n P"]]:
    """Features of every view in float32, put back on the crop's grid, and which patches each view saw.

    Where a view did not see a patch, its features are 0. One forward pass of B n inputs, view by view;
    `watch` is shown their tokens, block by block, where they stand in the views. Raises `NonFiniteError`.
    """
    views, grid = views.for_batch(len(images)), backbone.grid_of(images)
    source = torch.from_numpy(source_indices(views, grid)).to(images.device)
    tokens = _shifted_tokens(backbone, images, source)
    features = backbone.features(tokens, watch).float().unflatten(0, source.shape[:2])
    check_finite(features, "features of the views")
    return placed(features, views, grid)


def placed(
    values: Float[Tensor, "B n P C"], views: Views, grid: Grid
) -> tuple[Float[Tensor, "B n P C"], Bool[Tensor, "B n P"]]:
    """What stands in the views, back on the crop's grid, and which patches each saw; where not, it is 0."""
    place = torch.from_numpy(placement_indices(views.for_batch(len(values)), grid)).to(values.device)
    seen = place >= 0
    found = values.gather(2, place.clamp(min=0)[..., None].expand(-1, -1, -1, values.shape[-1]))
    return torch.where(seen[..., None], found, 0.0), seen


def check_finite(features: Tensor, what: str) -> None:
    if not torch.isfinite(features).all():
        bad = int((~torch.isfinite(features)).sum())
        raise NonFiniteError(
            f"NaN or Inf in the {what}",
            expected="finite values",
            found=f"{bad} of {features.numel()} values are not",
            remedy="check the input; under bfloat16 try precision: float32",
        )


def source_indices(views: Views, grid: Grid) -> npt.NDArray[np.int64]:
    """For each place of each view, the token that stands there [B, n, P].

    Tokens 0 to P - 1 are the crop's, P to 2 P - 1 its mirror image's, 2 P is the white patch.
    """
    h, w = grid
    flip = views.flips[..., None, None]
    x = np.arange(w)[None, :]
    unmirrored = np.where(flip, w - 1 - x, x)  # the view's column before its mirror
    row = np.arange(h)[:, None] + views.offsets[..., 0, None, None]
    column = unmirrored + views.offsets[..., 1, None, None]
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    direct = row * w + column
    mirrored = h * w + row * w + (w - 1 - column)  # the same patch, mirrored, in the mirror image
    index = np.where(inside, np.where(flip, mirrored, direct), 2 * h * w)
    return index.reshape(*views.flips.shape, h * w)


def placement_indices(views: Views, grid: Grid) -> npt.NDArray[np.int64]:
    """For each patch of the crop, its place in each view [B, n, P], or -1 where the view did not see it."""
    h, w = grid
    row = np.arange(h)[:, None] - views.offsets[..., 0, None, None]
    column = np.arange(w)[None, :] - views.offsets[..., 1, None, None]
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    column = np.where(views.flips[..., None, None], w - 1 - column, column)
    return np.where(inside, row * w + column, -1).reshape(*views.flips.shape, h * w)


def _shifted_tokens(
    backbone: Backbone, images: Float[Tensor, "B 3 H W"], source: Tensor
) -> Float[Tensor, "Bn h w D"]:
    p = backbone.patch_size
    white = ((1 - backbone.mean) / backbone.std).to(images)[None, :, None, None].expand(-1, -1, p, p)
    own = backbone.embed(images)
    batch, h, w, width = own.shape
    bank = torch.cat(
        [
            own.flatten(1, 2),
            backbone.embed(images.flip(-1)).flatten(1, 2),
            backbone.embed(white).flatten(1, 2).expand(batch, -1, -1),
        ],
        dim=1,
    )
    index = source.flatten(1)[..., None].expand(-1, -1, width)
    return bank.gather(1, index).reshape(-1, h, w, width)


def check_coverage(views: Views, grid: Grid) -> None:
    """Raise `ConfigError` if some patch is seen by no view."""
    seen = (placement_indices(views, grid) >= 0).any(-2)
    if not seen.all():
        unseen = int(np.argwhere(~seen)[0][-1])
        raise ConfigError(
            "Some patches are seen by no view",
            expected="every patch in at least one view",
            found=f"the patch in row {unseen // grid[1]}, column {unseen % grid[1]} is in none",
            remedy="make one view unshifted, as sample_views does with view 0",
        )
