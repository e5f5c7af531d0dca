"""timm's `Beit`: relative positions as biases of the attention, in a table of each block or one for all."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from timm.layers import resize_rel_pos_bias_table
from timm.models.beit import Beit, Block, checkpoint_filter_fn, gen_relative_position_index
from torch import Tensor, nn

from phreg.errors import ModelError
from phreg.models.families.family import Family, Heads, Rope, ScaledByGammas, not_identity, ratio
from phreg.models.families.relative import RelativeVisionTransformers


class Beits(ScaledByGammas, RelativeVisionTransformers):
    kind = Beit
    holds = "BEiT and BEiT v2; without registers"

    def check(self, vit: Any) -> None:
        Family.check(self, vit)
        if vit.pos_embed is not None:
            raise ModelError(
                "This Beit is not one that phreg knows",
                expected="relative positions alone, as in all of timm's weights",
                found="absolute positions",
            )

    def ropes(self, vit: Any, grid: tuple[int, int]) -> Sequence[Rope]:
        shared = None if vit.rel_pos_bias is None else _biases(vit.rel_pos_bias, grid)
        return [_sum(_biases(block.attn, grid), shared) for block in vit.blocks]

    def run_block(self, block: Any, x: Float[Tensor, "B N D"], rope: Rope) -> Float[Tensor, "B N D"]:
        x = x + self.scaled(block, self._attended(block.attn, block.norm1(x), rope))
        return x + self.mlp(block, x)

    def is_plain(self, block: Any) -> bool:
        return isinstance(block, Block)

    def heads(self, attention: Any, x: Float[Tensor, "B N D"], rope: Rope) -> Heads:
        a = attention
        bias = None if a.q_bias is None else torch.cat((a.q_bias, a.k_bias, a.v_bias))
        qkv = F.linear(x, a.qkv.weight, bias).unflatten(-1, (3, a.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def arguments(self, vit: Any) -> dict[str, Any]:
        block: Any = vit.blocks[0]
        return {
            "img_size": list(vit.patch_embed.img_size),
            "patch_size": int(vit.patch_embed.patch_size[0]),
            "embed_dim": int(vit.embed_dim),
            "depth": len(vit.blocks),
            "num_heads": int(block.attn.num_heads),
            "qkv_bias": block.attn.q_bias is not None,
            "mlp_ratio": ratio(block.mlp.fc2.in_features, vit.embed_dim),
            "swiglu_mlp": type(block.mlp).__name__ != "Mlp",
            "scale_mlp": not_identity(block.mlp.norm),
            "init_values": None if block.gamma_1 is None else 1e-5,
            "use_abs_pos_emb": vit.pos_embed is not None,
            "use_rel_pos_bias": block.attn.relative_position_bias_table is not None,
            "use_shared_rel_pos_bias": vit.rel_pos_bias is not None,
            "use_fc_norm": not_identity(vit.fc_norm),
            "num_classes": int(vit.head.out_features) if isinstance(vit.head, nn.Linear) else 0,
            "global_pool": vit.global_pool,
        }

    def renamed(self, vit: Any, state: Mapping[str, Any]) -> dict[str, Any]:
        renamed: dict[str, Any] = checkpoint_filter_fn(dict(state), vit)
        return renamed


def _biases(holder: Any, grid: tuple[int, int]) -> Rope:
    """Of a table at a grid [1, H, N, N], as timm resizes it."""
    table, own = holder.relative_position_bias_table, holder.window_size
    if table is None:
        return None
    index = holder.relative_position_index
    if tuple(own) != grid:
        shape = ((2 * grid[0] - 1) * (2 * grid[1] - 1) + 3, table.shape[1])
        table = resize_rel_pos_bias_table(table, grid, shape, own)
        index = gen_relative_position_index(grid, device=table.device)
    out: Tensor = table[index].permute(2, 0, 1)[None]
    return out


def _sum(own: Rope, shared: Rope) -> Rope:
    return own if shared is None else shared if own is None else own + shared
