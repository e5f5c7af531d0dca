"""Positional embeddings at another grid."""

import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from torch import Tensor


def resample_grid(
    pos_embed: Float[Tensor, "1 old_patches dim"], old: tuple[int, int], new: tuple[int, int]
) -> Float[Tensor, "1 new_patches dim"]:
    """Bicubic to the exact grid, corners not aligned, no antialiasing: the reference's convention.

    timm's own `resample_abs_pos_embed` antialiases by default, which uses another bicubic kernel and
    differs even when it enlarges.
    """
    if old == new:
        return pos_embed
    image = pos_embed.float().reshape(1, *old, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(image, size=new, mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).reshape(1, new[0] * new[1], -1).to(pos_embed.dtype)
