"""timm's `VisionTransformerRelPos`: its positions are biases of the attention, by how two patches lie.

Such a network has no register tokens, and its biases leave no place for any: it can be a teacher, and a
student without registers.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import timm
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from timm.layers import LayerScale, RelPosMlp
from timm.models.beit import Beit
from timm.models.vision_transformer_relpos import (
    RelPosBlock,
    ResPostRelPosBlock,
    VisionTransformerRelPos,
    checkpoint_filter_fn,
)
from torch import Tensor, nn

from phreg.models.families.family import Family, Rope, named_architecture, not_identity, ratio
from phreg.models.families.vision_transformer import VisionTransformers


class RelativeVisionTransformers(VisionTransformers):
    """Blocks of plain ViTs, and for each biases [1, H, N, N] in place of rotary embeddings."""

    kind: ClassVar[type[nn.Module]] = VisionTransformerRelPos
    holds = "ViTs with relative positions; without registers"
    takes_registers = False

    def check(self, vit: Any) -> None:
        Family.check(self, vit)

    def ropes(self, vit: Any, grid: tuple[int, int]) -> Sequence[Rope]:
        if vit.shared_rel_pos is not None:
            return [_at_grid(vit.shared_rel_pos, grid)] * len(vit.blocks)
        return [_at_grid(block.attn.rel_pos, grid) for block in vit.blocks]

    def run_block(self, block: Any, x: Float[Tensor, "B N D"], rope: Rope) -> Float[Tensor, "B N D"]:
        """In eval mode; timm's own takes no biases but those of the grid that it was built for."""
        if isinstance(block, ResPostRelPosBlock):
            x = x + block.norm1(self._attended(block.attn, x, rope))
            out: Tensor = x + block.norm2(block.mlp(x))
            return out
        x = x + self.scaled(block, self._attended(block.attn, block.norm1(x), rope))
        return x + self.mlp(block, x)

    def _attended(self, attention: Any, x: Float[Tensor, "B N D"], bias: Rope) -> Float[Tensor, "B N D"]:
        q, k, v = self.heads(attention, x, None)
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q))
        out: Tensor = attention.proj(heads.transpose(1, 2).flatten(2))
        return out

    def is_plain(self, block: Any) -> bool:
        return isinstance(block, RelPosBlock)

    def arguments(self, vit: Any) -> dict[str, Any]:
        block: Any = vit.blocks[0]
        told: Any = vit.shared_rel_pos or block.attn.rel_pos
        scales = isinstance(getattr(block, "ls1", None), LayerScale)
        found = {
            "img_size": list(vit.patch_embed.img_size),
            "patch_size": int(vit.patch_embed.patch_size[0]),
            "embed_dim": int(vit.embed_dim),
            "depth": len(vit.blocks),
            "num_heads": int(block.attn.num_heads),
            "mlp_ratio": ratio(block.mlp.fc1.weight.shape[0], vit.embed_dim),
            "qkv_bias": block.attn.qkv.bias is not None,
            "qk_norm": not_identity(block.attn.q_norm),
            "init_values": 1e-5 if scales else getattr(block, "init_values", None),
            "class_token": vit.cls_token is not None,
            "fc_norm": not_identity(vit.fc_norm),
            "shared_rel_pos": vit.shared_rel_pos is not None,
            "num_classes": int(vit.head.out_features) if isinstance(vit.head, nn.Linear) else 0,
            "global_pool": vit.global_pool,
        }
        if type(told) is not RelPosMlp:
            return found | {"rel_pos_type": "bias"}
        kind = "mlp_swin" if told.mode == "swin" else "mlp"
        return found | {"rel_pos_type": kind, "rel_pos_dim": told.mlp.fc1.out_features}

    def base(self, vit: Any) -> str | None:
        named = named_architecture(vit)
        return named if timm.is_model(named) else None

    def renamed(self, vit: Any, state: Mapping[str, Any]) -> dict[str, Any]:
        renamed: dict[str, Any] = checkpoint_filter_fn(dict(state), vit)  # type: ignore[no-untyped-call]
        return renamed


def named_as_others(vit: Any) -> Any:
    """The same network; one with relative positions then says by others' names what it does not have."""
    network: Any = vit
    if isinstance(network, VisionTransformerRelPos | Beit) and not hasattr(network, "norm_pre"):
        for name in ("reg_token", "attn_pool", *(() if hasattr(network, "pos_embed") else ("pos_embed",))):
            setattr(network, name, None)
        network.norm_pre = nn.Identity()
        vit.no_embed_class = True
    return vit


def _at_grid(rel_pos: Any, grid: tuple[int, int]) -> Tensor:
    if tuple(rel_pos.window_size) != grid:
        rel_pos = copy.deepcopy(rel_pos)
        rel_pos.set_window_size(grid)
    out: Tensor = rel_pos.get_bias()
    return out
