"""Making a network one for another size of image, or of fewer blocks: once, before it is used."""

from typing import Any

import torch
from torch import nn

from phreg.errors import ModelError
from phreg.fingerprint import digest_weights
from phreg.models.backbone import check_divides, square_patch
from phreg.models.families import family_of
from phreg.models.position import check_resize, resample_grid


def resize(vit: Any, image_size: int | tuple[int, int] | None, how: str) -> str | None:
    """Resample to the size; gives the digest of the weights before, if anything changed."""
    if image_size is None:
        return None
    size = (
        (image_size, image_size) if isinstance(image_size, int) else tuple(int(side) for side in image_size)
    )
    patch = square_patch(vit)
    check_divides(size, patch)
    old, new = tuple(vit.patch_embed.grid_size), (size[0] // patch, size[1] // patch)
    if tuple(vit.patch_embed.img_size) == size:
        return None
    digest = digest_weights(vit.state_dict())
    vit.patch_embed.set_input_size(size)
    if vit.pos_embed is not None and old != new:
        prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
        for_prefix, for_grid = vit.pos_embed[:, :prefix], vit.pos_embed[:, prefix:]
        vit.pos_embed = nn.Parameter(torch.cat([for_prefix, resample_grid(for_grid, old, new, how)], 1))
    if hasattr(getattr(vit, "rope", None), "update_feat_shape"):
        vit.rope.update_feat_shape(list(new))
    for module in vit.modules():
        if hasattr(module, "set_window_size"):  # relative positions
            module.set_window_size(new)
    return digest


def cut_after(vit: Any, block: int | None) -> None:
    """Leave out all blocks after this one (from 0; -1 is the last), and a projection, which was for the last.

    Raises `ModelError` if there is no such block.
    """
    depth = len(vit.blocks)
    if block is None or block in (-1, depth - 1):
        return
    if not -depth <= block < depth:
        raise ModelError(f"There is no block {block}", f"{-depth} to {depth - 1}", f"{depth} blocks")
    family_of(vit).cut(vit, block % depth + 1)
    if isinstance(vit.head, nn.Linear):
        vit.reset_classifier(0)


def settled_resize(vit: Any, how: str) -> str:
    """DINOv2 resamples its networks with registers as timm does, and those without in a way of its own.

    Raises `ModelError` for a way that there is not.
    """
    check_resize(how)
    return "timm" if how == "dinov2" and vit.reg_token is not None else how
