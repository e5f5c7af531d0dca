"""timm's `NaFlexVit` as a plain ViT, for images of one size: its positions are resampled to that."""

from typing import Any

import timm
import torch
from timm.models.naflexvit import NaFlexVit
from torch import Tensor

from phreg.errors import ModelError
from phreg.models.families.vision_transformer import VisionTransformers, of_block

_WITH_NORM = "vit_base_patch16_224"
_WITHOUT = {True: "vit_base_patch16_radio_v3", False: "vit_huge_patch16_radio_v3"}  # by LayerScale


def plain_naflex(vit: NaFlexVit) -> Any:
    """timm's `VisionTransformer` with the same features of images of the network's own size; classifier and
    attention pooling are left out. Its positions are those that timm resamples to that size.

    Raises `ModelError` for one with rotary positions or blocks of another kind.
    """
    embeds, norms = vit.embeds, hasattr(vit.norm, "eps") or hasattr(vit.fc_norm, "eps")
    if vit.rope is not None or not embeds.is_linear or not VisionTransformers().is_plain(vit.blocks[0]):
        raise ModelError(
            "This NaFlexVit is not one that phreg knows",
            expected="plain blocks over linearly embedded patches, with absolute positions",
            found="rotary positions" if vit.rope is not None else type(vit.blocks[0]).__name__,
            remedy="take timm's networks of the same weights for images of one size, if there are any",
        )
    told = of_block(vit.blocks[0], vit.embed_dim)
    base = _WITH_NORM if norms else _WITHOUT[told["init_values"] is not None]
    patch, size = embeds.patch_size[0], _own_size(vit)
    grid = (size[0] // patch, size[1] // patch)
    plain: Any = timm.create_model(
        base,
        pretrained=False,
        img_size=size,
        patch_size=patch,
        embed_dim=vit.embed_dim,
        depth=len(vit.blocks),
        class_token=vit.has_class_token,
        reg_tokens=vit.num_reg_tokens,
        no_embed_class=True,
        global_pool="avg" if hasattr(vit.fc_norm, "eps") else "token" if vit.has_class_token else "",
        num_classes=0,
        **told,
    )
    plain.load_state_dict(_weights(vit, grid))
    for part, module in plain.named_modules():
        if hasattr(module, "eps"):
            module.eps = vit.get_submodule(part).eps
    known = getattr(vit, "pretrained_cfg", None) or {}
    plain.pretrained_cfg = dict(known) | {"architecture": base}
    return plain


def _own_size(vit: Any) -> tuple[int, int]:
    """Of the weights' config; of a bare network, what its positions are for."""
    embeds = vit.embeds
    known = (getattr(vit, "pretrained_cfg", None) or {}).get("input_size")
    own = embeds.pos_embed_grid_size
    return (known[1], known[2]) if known else (own[0] * embeds.patch_size[0], own[1] * embeds.patch_size[1])


@torch.no_grad()
def _weights(vit: Any, grid: tuple[int, int]) -> dict[str, Tensor]:
    embeds, places = vit.embeds, torch.zeros(1, grid[0] * grid[1], vit.embed_dim)
    apply = {"learned": embeds._apply_learned_pos_embed, "factorized": embeds._apply_factorized_pos_embed}
    places = places.to(embeds.proj.weight)
    apply[embeds.pos_embed_type](places, grid_size=list(grid))
    shape = (*embeds.patch_size, 3) if embeds.channels_last else (3, *embeds.patch_size)
    kernel = embeds.proj.weight.unflatten(1, shape)
    kept = ("blocks.", "norm.", "fc_norm.", "norm_pre.")
    tokens = {name: getattr(embeds, name) for name in ("cls_token", "reg_token")}
    return {
        **{name: value for name, value in vit.state_dict().items() if name.startswith(kept)},
        **{name: token for name, token in tokens.items() if token is not None},
        "pos_embed": places,
        "patch_embed.proj.weight": kernel.permute(0, 3, 1, 2) if embeds.channels_last else kernel,
        "patch_embed.proj.bias": embeds.proj.bias,
    }
