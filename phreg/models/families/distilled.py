"""DeiT's distillation token, as the first register of a plain ViT: to the patches it is nothing else."""

from typing import Any

import timm
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

from phreg.models.families.family import named_architecture
from phreg.models.families.vision_transformer import VisionTransformers


def undistilled(vit: Any) -> Any:
    """A distilled DeiT as timm's plain ViT with the same features; its classifiers are left out.

    Any other network is given back as it is.
    """
    if not isinstance(vit, VisionTransformerDistilled):
        return vit
    arguments = VisionTransformers().arguments(vit) | {"reg_tokens": 1, "num_classes": 0}
    named = named_architecture(vit).replace("_distilled", "")
    name = named if timm.is_model(named) else "vit_base_patch16_224"
    plain: Any = timm.create_model(name, pretrained=False, **arguments)
    weights = {key: value for key, value in vit.state_dict().items() if not key.startswith("head")}
    weights["reg_token"] = weights.pop("dist_token")
    plain.load_state_dict(weights)
    for part, module in plain.named_modules():
        if hasattr(module, "eps"):
            module.eps = vit.get_submodule(part).eps
    known = getattr(vit, "pretrained_cfg", None) or {}
    plain.pretrained_cfg = dict(known) | {"architecture": name}
    ours: VisionTransformer = plain
    return ours
