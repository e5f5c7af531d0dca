"""A ViT as plain data: the arguments with which stock timm builds the same network."""

from typing import Any

import timm
import torch
from timm.layers import LayerScale, Mlp
from timm.layers.activations import GELU, GELUTanh, QuickGELU
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from phreg.errors import ModelError

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


def vit_arguments(vit: VisionTransformer) -> dict[str, Any]:
    """Arguments for `timm.create_model(base_architecture(vit), **arguments)`."""
    block: Any = vit.blocks[0]  # torch types a module's children as Tensor | Module
    head: Any = vit.head
    patch_embed = vit.patch_embed
    arguments: dict[str, Any] = {
        "img_size": list(patch_embed.img_size),
        "patch_size": int(patch_embed.patch_size[0]),
        "embed_dim": int(vit.embed_dim),
        "depth": len(vit.blocks),
        "num_heads": int(block.attn.num_heads),
        "qkv_bias": block.attn.qkv.bias is not None,
        "class_token": bool(vit.has_class_token),
        "reg_tokens": int(vit.num_reg_tokens),
        "no_embed_class": bool(vit.no_embed_class),
        "pre_norm": not isinstance(vit.norm_pre, nn.Identity),
        "num_classes": int(head.out_features) if isinstance(head, nn.Linear) else 0,
        "global_pool": vit.global_pool,
        "init_values": 1e-5 if isinstance(block.ls1, LayerScale) else None,
    }
    if type(block.mlp) is Mlp:
        mlp: Any = block.mlp
        arguments["mlp_ratio"] = mlp.fc1.out_features / vit.embed_dim
        arguments["act_layer"] = _activation(mlp.act)
    return arguments


def base_architecture(vit: VisionTransformer) -> str:
    """The timm architecture that the arguments refine: the model's own, or a plain one with its norms."""
    named = (getattr(vit, "pretrained_cfg", None) or {}).get("architecture")
    if named and timm.is_model(named):
        return str(named)
    epsilon = getattr(vit.blocks[0].norm1, "eps", None)
    if epsilon not in _BASES:
        raise ModelError(
            "This network is not one that stock timm can name",
            expected=f"LayerNorm with an epsilon of {' or '.join(map(str, _BASES))}",
            found=f"{type(vit.blocks[0].norm1).__name__} with {epsilon}",
            remedy="build it with timm.create_model from a registered architecture",
        )
    return _BASES[epsilon]


def check_stock(vit: VisionTransformer, architecture: str, arguments: dict[str, Any]) -> None:
    """Raises `ModelError` unless stock timm builds a network with just these weights and norms from it."""
    with torch.device("meta"):
        stock = timm.create_model(architecture, pretrained=False, **arguments)
    ours = {name: tuple(tensor.shape) for name, tensor in vit.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in stock.state_dict().items()}
    differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    same_norms = [m.eps for m in vit.modules() if isinstance(m, nn.LayerNorm)] == [
        m.eps for m in stock.modules() if isinstance(m, nn.LayerNorm)
    ]
    if differing or not same_norms:
        raise ModelError(
            "Stock timm would build another network from this student's config",
            expected=f"{architecture} with {arguments}",
            found=f"differing weights {differing[:5]}" if differing else "other norm epsilons",
            remedy="build the teacher with timm.create_model from a registered architecture",
        )


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
