"""A stand-in teacher: a small ViT with fixed random weights, saved in timm's hub layout.

It has seen no image. Its dense features mix content with position, which is what averaging over shifts
removes, so it exercises every stage and every measure; it says nothing of what cleaned features are worth.
"""

import torch
from timm.models.vision_transformer import VisionTransformer

from phreg.models import hub_files, load_backbone
from phreg.storage import Folder

IMAGE_SIZE = 112


def make_teacher(folder: Folder, seed: int = 0) -> None:
    """Write `config.json` and `model.safetensors`; equal seeds give equal weights."""
    vit = VisionTransformer(
        img_size=IMAGE_SIZE, patch_size=8, embed_dim=96, depth=4, num_heads=3, init_values=1.0, num_classes=0
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in vit.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name in ("pos_embed", "cls_token"):
                parameter.copy_(noise)
            elif name == "norm.weight":  # so that the tokens' norms differ
                parameter.copy_(1 + 0.3 * noise)
            elif name.endswith("gamma"):
                parameter.fill_(0.5)
            elif parameter.ndim >= 2:
                parameter.copy_(noise * (2 / parameter.shape[1:].numel()) ** 0.5)
            elif name.endswith("bias"):
                parameter.zero_()
    for name, data in hub_files(load_backbone(vit)).items():
        folder.write(name, data)
