"""Positional embeddings at another grid: `paper`, `timm` or `dinov2`. Corners are not aligned in any.

- `paper`, as PH-Reg's reference: bicubic to the exact grid, no antialiasing.
- `timm`: antialiased, which is another bicubic kernel, and differs also where it enlarges.
- `dinov2`, as DINOv2's hub code: bicubic by the factors (h + 0.1) / side, no antialiasing. Its networks with
  registers are resampled as timm's.
"""

from typing import get_args

import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from torch import Tensor

from phreg.config.model import Resize
from phreg.errors import ModelError

DINOV2_OFFSET = 0.1  # patches; against results that are one too small by rounding


def check_resize(resize: str) -> None:
    """Raises `ModelError` for an unknown name."""
    if resize not in get_args(Resize):
        raise ModelError(
            f"There is no pos_embed_resize {resize!r}", expected=f"one of {', '.join(get_args(Resize))}"
        )


def resample_grid(
    pos_embed: Float[Tensor, "1 old_patches dim"],
    old: tuple[int, int],
    new: tuple[int, int],
    resize: str = "paper",
) -> Float[Tensor, "1 new_patches dim"]:
    """Positional embeddings of a grid (h, w) at another one."""
    if old == new:
        return pos_embed
    image = pos_embed.float().reshape(1, *old, -1).permute(0, 3, 1, 2)
    if resize == "dinov2":
        factors = tuple((side + DINOV2_OFFSET) / own for side, own in zip(new, old, strict=True))
        resized = F.interpolate(image, scale_factor=factors, mode="bicubic", align_corners=False)
    else:
        antialias = resize == "timm"
        resized = F.interpolate(image, size=new, mode="bicubic", align_corners=False, antialias=antialias)
    return resized.permute(0, 2, 3, 1).reshape(1, new[0] * new[1], -1).to(pos_embed.dtype)
