"""Tiny random networks of every family that people use, made from timm's own names."""

from typing import Any

import timm

from tests.helpers import randomised

_SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2}
_WIDE_HEADS: dict[str, Any] = {
    "embed_dim": 64,
    "depth": 2,
    "num_heads": 2,
}  # rotation wants heads of 8 and more

WITHOUT_REGISTERS = "relative positions"
"""The names of networks that have no place for register tokens begin so."""

# name: timm's architecture, and what is other than small in it
MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "CLIP": ("vit_base_patch16_clip_224", {"num_classes": 16}),
    "CLIP with QuickGELU, 32 pixels": ("vit_base_patch32_clip_quickgelu_224", {"num_classes": 16}),
    "DINO, 8 pixels": ("vit_small_patch8_224", {"num_classes": 0}),
    "DINOv2, 14 pixels": ("vit_small_patch14_dinov2", {}),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2", {}),
    "DINOv2 giant": ("vit_giant_patch14_reg4_dinov2", {}),
    "AugReg": ("vit_tiny_patch16_224", {}),
    "DeiT, distilled": ("deit_tiny_distilled_patch16_224", {}),
    "DeiT-III": ("deit3_small_patch16_224", {}),
    "averaged": ("vit_base_patch16_gap_224", {}),
    "averaged, registers, no class token": ("vit_betwixt_patch16_reg1_gap_256", {}),
    "SigLIP": ("vit_base_patch16_siglip_224", {}),
    "SigLIP, averaged": ("vit_base_patch16_siglip_gap_224", {}),
    "TIPSv2": ("vit_base_patch14_reg1_tipsv2", {}),
    "C-RADIO": ("vit_base_patch16_radio_v3", {}),
    "AIMv2": ("aimv2_large_patch14_224", {}),
    "BEiT-3": ("beit3_base_patch16_224", {}),
    "residual post-norm": ("vit_base_patch16_rpn_224", {}),
    "parallel attention and MLP": ("vit_pwee_patch16_reg1_gap_256", {}),
    "differential attention": ("vit_dpwee_patch16_reg1_gap_256", _WIDE_HEADS),
    "two branches at a time": ("vit_small_patch16_18x2_224", {}),
    "ViT-22B's block": ("vit_base_patch16_xp_224", {}),
    "EVA": ("eva_giant_patch14_224", {"mlp_ratio": 4.0}),
    "EVA-CLIP, first": ("eva_giant_patch14_clip_224", {"mlp_ratio": 4.0, "num_classes": 16}),
    "EVA-02": ("eva02_tiny_patch14_224", _WIDE_HEADS),
    "EVA-02 with norms in its MLP": ("eva02_base_patch14_224", _WIDE_HEADS),
    "EVA-CLIP": ("eva02_base_patch16_clip_224", _WIDE_HEADS | {"num_classes": 16}),
    "EVA-CLIP, norms behind": ("eva02_enormous_patch14_clip_224", {"mlp_ratio": 4.0, "num_classes": 16}),
    "DINOv3": ("vit_small_patch16_dinov3", _WIDE_HEADS),
    "DINOv3 and EUPE with biases": ("vit_small_patch16_dinov3_qkvb", _WIDE_HEADS),
    "DINOv3 7B": ("vit_7b_patch16_dinov3", _WIDE_HEADS),
    "Perception Encoder": ("vit_pe_core_base_patch16_224", _WIDE_HEADS | {"num_classes": 16}),
    "Perception Encoder, spatial": ("vit_pe_spatial_tiny_patch16_512", _WIDE_HEADS),
    "Perception Encoder, language": ("vit_pe_lang_large_patch14_448", _WIDE_HEADS),
    "RoPE-ViT": ("vit_small_patch16_rope_224", _WIDE_HEADS),
    "RoPE-ViT, learnt": ("vit_small_patch16_rope_mixed_224", _WIDE_HEADS),
    "RoPE-ViT, learnt, and absolute": ("vit_small_patch16_rope_mixed_ape_224", _WIDE_HEADS),
    "rotary, registers, averaged": ("vit_medium_patch16_rope_reg1_gap_256", _WIDE_HEADS),
    "LingBot-Vision": ("vit_small_patch16_lingbot", _WIDE_HEADS),
    "Sapiens2": (
        "vit_5b_patch16_sapiens2",
        {"embed_dim": 64, "depth": 2, "num_heads": 4, "num_kv_heads": (2, 4)},
    ),
    WITHOUT_REGISTERS: ("vit_relpos_small_patch16_224", {}),
    f"{WITHOUT_REGISTERS}, shared": ("vit_srelpos_small_patch16_224", {}),
    f"{WITHOUT_REGISTERS}, class token": ("vit_relpos_medium_patch16_cls_224", {}),
    f"{WITHOUT_REGISTERS}, in a table": ("vit_relpos_base_patch16_clsgap_224", {"rel_pos_type": "bias"}),
    f"{WITHOUT_REGISTERS}, BEiT": ("beit_base_patch16_224", {}),
    f"{WITHOUT_REGISTERS}, BEiT, shared": (
        "beitv2_base_patch16_224",
        {"use_shared_rel_pos_bias": True, "swiglu_mlp": True, "scale_mlp": True, "qkv_bias": False},
    ),
    f"{WITHOUT_REGISTERS}, norms behind": ("vit_relpos_base_patch16_rpn_224", {}),
    "multimodal rotary": (
        "vit_small_patch16_dinov3",
        _WIDE_HEADS | {"rope_type": "mrope", "rope_mrope_section": (4, 6, 6), "rope_grid_offset": 0.0},
    ),
}


def tiny(name: str, seed: int = 0, **changes: Any) -> Any:
    """A network of 4 x 4 patches, in eval mode."""
    architecture, options = MADE[name]
    patch = int(architecture.split("_patch")[1].split("_")[0])
    settings = _SMALL | {"img_size": 4 * patch} | options | changes
    return randomised(lambda: timm.create_model(architecture, pretrained=False, **settings), seed)
