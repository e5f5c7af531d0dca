"""Tiny models, images and shards, in one place."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import safetensors.torch
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer


def tiny_dinov2(image_size: int = 64, seed: int = 0, **options: object) -> VisionTransformer:
    """A random DINOv2-like ViT: class token, LayerScale, no registers, no head."""
    settings: dict = {
        "img_size": image_size,
        "patch_size": 8,
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 2,
        "init_values": 1.0,
        "num_classes": 0,
    }
    return randomised(lambda: VisionTransformer(**(settings | options)), seed)


def tiny_clip(image_size: int = 64, seed: int = 0, **options: object) -> VisionTransformer:
    """A random CLIP-like image tower: norm before the blocks, QuickGELU, a projection as its head."""
    settings: dict = {
        "img_size": image_size,
        "patch_size": 8,
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 2,
        "pre_norm": True,
        "act_layer": "quick_gelu",
        "num_classes": 16,
    }
    return randomised(lambda: VisionTransformer(**(settings | options)), seed)


def randomised(build: Callable[[], Any], seed: int) -> Any:
    """Weights of a size at which attention and positions matter (timm's init is nearly linear)."""
    vit = build()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in vit.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2 and "pos_embed" not in name and "token" not in name:
                parameter.copy_(noise * parameter.shape[1:].numel() ** -0.5)
            elif "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.1 * noise)
            elif "gamma" in name:
                parameter.copy_(0.5 + 0.1 * noise)
            else:
                parameter.copy_(0.3 * noise)
    return vit.eval()


def make_image(seed: int = 0, width: int = 96, height: int = 80) -> Image.Image:
    """A smooth random RGB image: JPEG keeps it nearly as it is."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def jpeg_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=92)
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_shard(path: Path, n: int = 4, seed: int = 0, width: int = 96, height: int = 80) -> Path:
    """A WebDataset tar of n JPEGs with keys `{stem}_0000` and so on."""
    stem = path.stem.replace(".", "_")
    return write_tar(
        path,
        [(f"{stem}_{i:04d}.jpg", jpeg_bytes(make_image(seed * 10_000 + i, width, height))) for i in range(n)],
    )


def save_tiny_open_clip(path: Path, seed: int = 0, half: bool = True, **changes: object) -> str:
    """A random CLIP in open_clip's hub layout at `path`; returns its model name.

    64 px, patch 8, width 32, two layers, embeddings of 16, context of 16 tokens. `changes` to `model_cfg`.
    """
    config: dict = {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    config |= changes
    torch.manual_seed(seed)
    clip = open_clip.CLIP(**{key: value for key, value in config.items() if key != "custom_text"})
    weights = {k: v.half() if half else v for k, v in clip.state_dict().items()}
    preprocess = {"size": 64, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    path.mkdir(parents=True, exist_ok=True)
    (path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    safetensors.torch.save_file(weights, path / "open_clip_model.safetensors")
    return f"open_clip-dir:{path}"
