"""timm's `VisionTransformer`: absolute positions, fused attention, LayerScale as modules."""

from collections.abc import Mapping
from typing import Any, ClassVar

import timm
from jaxtyping import Float
from timm.layers import Attention, LayerScale, Mlp
from timm.layers.activations import GELU, GELUTanh, QuickGELU
from timm.models.vision_transformer import Block, VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from phreg.errors import ModelError
from phreg.models.families.family import Family, Heads, Rope, named_architecture, not_identity, ratio

# One name for each function, whichever class computes it: equal networks have equal arguments.
_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.GELU: "gelu",
    GELU: "gelu",
    GELUTanh: "gelu_tanh",
    QuickGELU: "quick_gelu",
    nn.SiLU: "silu",
    nn.ReLU: "relu",
}
_BASES = {1e-6: "vit_base_patch16_224", 1e-5: "vit_base_patch16_clip_224"}  # by epsilon of their norms
_RADIO = "radio_model.model.patch_generator.embedder.weight"
_RADIO_CORNERS = ("base_patch16_radio_v3", "huge_patch16_radio_v3")  # whose positions timm aligns by corners


class VisionTransformers(Family):
    kind: ClassVar[type[nn.Module]] = VisionTransformer
    holds = "CLIP, OpenCLIP, DFN, DINO, DINOv2, DeiT, AugReg, MAE, SigLIP, AIMv2, C-RADIO, TIPSv2"

    def check(self, vit: Any) -> None:
        super().check(vit)
        known = int(vit.has_class_token) + vit.num_reg_tokens
        if vit.num_prefix_tokens != known:
            raise ModelError(
                "The model is no plain ViT",
                expected="before the patches at most a class token and registers",
                found=f"{type(vit).__name__} with {vit.num_prefix_tokens} tokens before the patches",
            )

    def run_block(self, block: Any, x: Float[Tensor, "B N D"], rope: Rope) -> Float[Tensor, "B N D"]:
        out: Tensor = block(x)
        return out

    def is_plain(self, block: Any) -> bool:
        return isinstance(block, Block) and isinstance(block.attn, Attention) and block.attn.gate is None

    def heads(self, attention: Any, x: Float[Tensor, "B N D"], rope: Rope) -> Heads:
        split = (*x.shape[:2], 3, attention.num_heads, attention.head_dim)
        q, k, v = attention.qkv(x).reshape(split).permute(2, 0, 3, 1, 4).unbind(0)
        return attention.q_norm(q), attention.k_norm(k), v

    def scaled(self, block: Any, branch: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        out: Tensor = block.ls1(branch)
        return out

    def mlp(self, block: Any, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        out: Tensor = block.ls2(block.mlp(block.norm2(x)))
        return out

    def arguments(self, vit: Any) -> dict[str, Any]:
        block = vit.blocks[0]
        found = {
            "img_size": list(vit.patch_embed.img_size),
            "patch_size": int(vit.patch_embed.patch_size[0]),
            "embed_dim": int(vit.embed_dim),
            "depth": len(vit.blocks),
            "class_token": bool(vit.has_class_token),
            "reg_tokens": int(vit.num_reg_tokens),
            "no_embed_class": bool(vit.no_embed_class),
            "pre_norm": not_identity(vit.norm_pre),
            "num_classes": int(vit.head.out_features) if isinstance(vit.head, nn.Linear) else 0,
            "global_pool": vit.global_pool,
        }
        return found | of_block(block, vit.embed_dim) if type(block) is Block else found

    def base(self, vit: Any) -> str | None:
        named = named_architecture(vit)
        if timm.is_model(named):
            return named
        return _BASES.get(getattr(vit.blocks[0].norm1, "eps", 0)) if type(vit.blocks[0]) is Block else None

    def set_registers(self, vit: Any, number: int) -> None:
        vit.num_reg_tokens = number
        vit.num_prefix_tokens = int(vit.has_class_token) + number

    def cut(self, vit: Any, blocks: int) -> None:
        vit.blocks = vit.blocks[:blocks]

    def renamed(self, vit: Any, state: Mapping[str, Any]) -> dict[str, Any]:
        if _RADIO in state:
            corners = any(name in named_architecture(vit) for name in _RADIO_CORNERS)
            return checkpoint_filter_fn(dict(state), vit, False, "bilinear", False, corners)
        return checkpoint_filter_fn(dict(state), vit, adapt_layer_scale="blocks.0.gamma_1" in state)


def of_block(block: Any, width: int) -> dict[str, Any]:
    """Arguments that say what a plain block is."""
    mlp = block.mlp
    found: dict[str, Any] = {
        "num_heads": int(block.attn.num_heads),
        "qkv_bias": block.attn.qkv.bias is not None,
        "init_values": 1e-5 if isinstance(block.ls1, LayerScale) else None,
    }
    if type(mlp) is Mlp:
        found["mlp_ratio"] = ratio(mlp.fc1.weight.shape[0], width)
        found["act_layer"] = _activation(mlp.act)
    return found


def _activation(act: nn.Module) -> str:
    if isinstance(act, nn.GELU) and act.approximate == "tanh":
        return "gelu_tanh"
    if type(act) not in _ACTIVATIONS:
        raise ModelError(
            "This network's activation is not one that phreg can name to stock timm",
            expected=f"one of {', '.join(sorted(set(_ACTIVATIONS.values())))}",
            found=type(act).__name__,
        )
    return _ACTIVATIONS[type(act)]
