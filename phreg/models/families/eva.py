"""timm's `Eva`: rotary positions, absolute ones, or both; LayerScale as parameters of the block."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from timm.layers import AttentionRope, SwiGLU, apply_rot_embed_cat
from timm.layers.pos_embed_sincos import (
    RotaryEmbeddingCat,
    RotaryEmbeddingDinoV3,
    RotaryEmbeddingMixed,
    RotaryEmbeddingMRope,
)
from timm.models.eva import Eva, EvaAttention, EvaBlock, EvaBlockPostNorm, checkpoint_filter_fn
from torch import Tensor, nn

from phreg.models.families.family import (
    Heads,
    Rope,
    ScaledByGammas,
    named_architecture,
    not_identity,
    ratio,
)

_BASES = {
    1e-6: "eva02_tiny_patch14_224",
    1e-5: "vit_pe_spatial_tiny_patch16_512",
}  # by epsilon of their norms
_ROPES: dict[type[nn.Module], str] = {
    RotaryEmbeddingCat: "cat",
    RotaryEmbeddingMixed: "mixed",
    RotaryEmbeddingDinoV3: "dinov3",
    RotaryEmbeddingMRope: "mrope",
}


class Evas(ScaledByGammas):
    kind = Eva
    holds = "EVA-02, EVA-CLIP, DINOv3, Perception Encoder, EUPE, RoPE-ViT, LingBot-Vision, Sapiens2"

    def ropes(self, vit: Any, grid: tuple[int, int]) -> Sequence[Rope]:
        if vit.rope is None:
            return [None] * len(vit.blocks)
        own = tuple(vit.patch_embed.grid_size) == grid and getattr(vit.rope, "feat_shape", None) is not None
        embedding = _at_grid(vit.rope, grid, own)
        return list(embedding) if vit.rope_mixed else [embedding] * len(vit.blocks)

    def run_block(self, block: Any, x: Float[Tensor, "B N D"], rope: Rope) -> Float[Tensor, "B N D"]:
        out: Tensor = block(x, rope=rope)
        return out

    def is_plain(self, block: Any) -> bool:
        known = isinstance(block, EvaBlock) and isinstance(block.attn, EvaAttention | AttentionRope)
        return known and block.attn.gate is None

    def heads(self, attention: Any, x: Float[Tensor, "B N D"], rope: Rope) -> Heads:
        q, k, v = (
            part.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for part in _qkv(attention, x)
        )
        q, k = attention.q_norm(q), attention.k_norm(k)
        if rope is not None:
            q, k = (_rotated(attention, part, rope).type_as(v) for part in (q, k))
        groups = q.shape[1] // k.shape[1]
        return (q, k, v) if groups == 1 else (q, *(part.repeat_interleave(groups, 1) for part in (k, v)))

    def arguments(self, vit: Any) -> dict[str, Any]:
        return {
            "img_size": list(vit.patch_embed.img_size),
            "patch_size": int(vit.patch_embed.patch_size[0]),
            "embed_dim": int(vit.embed_dim),
            "depth": len(vit.blocks),
            "class_token": vit.cls_token is not None,
            "num_reg_tokens": 0 if vit.reg_token is None else int(vit.reg_token.shape[1]),
            "no_embed_class": bool(vit.no_embed_class),
            "use_abs_pos_emb": vit.pos_embed is not None,
            "use_pre_transformer_norm": not_identity(vit.norm_pre),
            "use_post_transformer_norm": not_identity(vit.norm),
            "use_fc_norm": not_identity(vit.fc_norm),
            "num_classes": int(vit.head.out_features) if isinstance(vit.head, nn.Linear) else 0,
            "global_pool": vit.global_pool,
            **_of_blocks(vit.blocks, int(vit.embed_dim)),
            **_of_rope(vit.rope),
            **_of_pool(vit.attn_pool, int(vit.embed_dim)),
        }

    def base(self, vit: Any) -> str | None:
        named = named_architecture(vit)
        return named if timm.is_model(named) else _BASES.get(getattr(vit.blocks[0].norm1, "eps", 0))

    def set_registers(self, vit: Any, number: int) -> None:
        vit.num_prefix_tokens = int(vit.cls_token is not None) + number
        for block in vit.blocks:  # where rotation begins
            block.attn.num_prefix_tokens = vit.num_prefix_tokens

    def cut(self, vit: Any, blocks: int) -> None:
        vit.blocks = vit.blocks[:blocks]
        if vit.rope_mixed:
            vit.rope.freqs = nn.Parameter(vit.rope.freqs.detach()[:, :blocks].clone())
            vit.rope.depth = blocks

    def renamed(self, vit: Any, state: Mapping[str, Any]) -> dict[str, Any]:
        renamed: dict[str, Any] = checkpoint_filter_fn(dict(state), vit)
        return renamed


def _at_grid(rope: Any, grid: tuple[int, int], own: bool) -> Tensor:
    """Rotary embeddings of a grid, as timm's network of that size has them."""
    if own:
        out: Tensor = rope.get_embed()
    elif isinstance(rope, RotaryEmbeddingCat) and rope.feat_shape is not None:  # it knows its own grid alone
        there = copy.deepcopy(rope)
        there.update_feat_shape(list(grid))
        out = there.get_embed()
    else:
        out = rope.get_embed(shape=list(grid))
    return out


def _qkv(attention: Any, x: Tensor) -> Sequence[Tensor]:
    """Queries, keys and values, before they are split into heads."""
    if attention.qkv is None:
        return attention.q_proj(x), attention.k_proj(x), attention.v_proj(x)
    bias = attention.qkv.bias
    if getattr(attention, "q_bias", None) is not None:
        bias = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
    return F.linear(x, attention.qkv.weight, bias).chunk(3, -1)


def _rotated(attention: Any, heads: Float[Tensor, "B H N d"], rope: Tensor) -> Float[Tensor, "B H N d"]:
    """Patches turned by their places; prefix tokens have none."""
    prefix = attention.num_prefix_tokens
    turned = apply_rot_embed_cat(heads[:, :, prefix:], rope, half=attention.rotate_half)
    return torch.cat([heads[:, :, :prefix], turned], 2)


def _of_blocks(blocks: Any, width: int) -> dict[str, Any]:
    block = blocks[0]
    attention, mlp = block.attn, block.mlp
    with_rope = isinstance(attention, AttentionRope)
    return {
        "num_heads": int(attention.num_heads),
        "num_kv_heads": [int(b.attn.num_kv_heads) for b in blocks] if _is_grouped(blocks) else None,
        "qkv_fused": attention.qkv is not None,
        "qkv_bias": _has_qkv_bias(attention),
        "qk_norm": not_identity(attention.q_norm),
        "attn_type": "rope" if with_rope else "eva",
        "scale_attn_inner": not_identity(attention.norm),
        "use_post_norm": isinstance(block, EvaBlockPostNorm),
        "init_values": None if getattr(block, "gamma_1", None) is None else 1e-5,
        "attn_only_layer_scale": getattr(block, "gamma_1", None) is not None and block.gamma_2 is None,
        "swiglu_mlp": type(mlp).__name__ != "Mlp",
        "swiglu_align_to": 1 if isinstance(mlp, SwiGLU) else 0,
        "scale_mlp": not_identity(mlp.norm),
        "mlp_ratio": ratio(mlp.fc2.in_features, width),
    }


def _is_grouped(blocks: Any) -> bool:
    return any(getattr(b.attn, "num_kv_heads", b.attn.num_heads) != b.attn.num_heads for b in blocks)


def _has_qkv_bias(attention: Any) -> bool:
    if attention.qkv is None:
        return attention.q_proj.bias is not None
    return (attention.q_bias if isinstance(attention, EvaAttention) else attention.qkv.bias) is not None


def _of_rope(rope: Any) -> dict[str, Any]:
    if rope is None:
        return {"use_rot_pos_emb": False}
    reference, section = getattr(rope, "ref_feat_shape", None), getattr(rope, "mrope_section", None)
    return {
        "use_rot_pos_emb": True,
        "rope_type": _ROPES[type(rope)],
        "rope_temperature": float(rope.temperature),
        "rope_grid_offset": float(getattr(rope, "grid_offset", 0.0)),
        "rope_grid_indexing": rope.grid_indexing,
        "rope_rotate_half": bool(getattr(rope, "rotate_half", isinstance(rope, RotaryEmbeddingMRope))),
        "ref_feat_shape": None if reference is None else [int(side) for side in reference],
        "rope_mrope_section": None if section is None else [int(part) for part in section],
    }


def _of_pool(pool: Any, width: int) -> dict[str, Any]:
    if pool is None:
        return {}
    hidden = pool.mlp.fc1.out_features
    return {"attn_pool_num_heads": int(pool.num_heads), "attn_pool_mlp_ratio": ratio(hidden, width)}
