"""Shift tokens against shift pixels: the same views of the same crops, embedded in two ways.

    python benchmarks/shift_tokens.py [--embed-dim 192] [--depth 4] [--image-size 224] [--images 4]

Both sides run in turn in one process, the best of several rounds each; the ratio is of their seconds.
"""

import phreg  # isort: skip  (first: it lets timm import beside a CPU-only torch)
import argparse
import platform
import time

import torch
from timm.models.vision_transformer import VisionTransformer

from phreg.device import device_here
from phreg.method.denoising import denoise
from phreg.method.view_features import placement_indices
from phreg.method.views import Views
from phreg.models import Backbone


def shift_pixels(backbone: Backbone, images: torch.Tensor, views: Views) -> torch.Tensor:
    """Denoise by making every view as an image."""
    p, (h, w) = backbone.patch_size, backbone.grid_of(images)
    place = torch.from_numpy(placement_indices(views, (h, w))).to(images.device)
    white = ((1 - backbone.mean) / backbone.std)[:, None, None].expand_as(images[0])
    total = torch.zeros(len(images), h * w, backbone.out_dim, device=images.device)
    for (dy, dx), flip, index in zip(views.offsets, views.flips, place, strict=True):
        view = white.expand_as(images).clone()
        target_y, source_y = _overlap(dy * p, images.shape[-2])
        target_x, source_x = _overlap(dx * p, images.shape[-1])
        view[:, :, target_y, target_x] = images[:, :, source_y, source_x]
        features = backbone(view.flip(-1) if flip else view).flatten(2).transpose(1, 2)
        total += torch.where((index >= 0)[None, :, None], features[:, index.clamp(min=0)], 0.0)
    return total / (place >= 0).sum(0)[None, :, None]


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    return slice(max(-shift, 0), size - max(shift, 0)), slice(max(shift, 0), size + min(shift, 0))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (
        ("embed-dim", 192),
        ("depth", 4),
        ("image-size", 224),
        ("images", 4),
        ("rounds", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    device = device_here()
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=options.image_size, patch_size=16, embed_dim=options.embed_dim, depth=options.depth,
        num_heads=options.embed_dim // 64, num_classes=0,
    )  # fmt: skip
    backbone = phreg.load_backbone(vit).to(device)
    images = torch.randn(options.images, 3, options.image_size, options.image_size, device=device)
    views = phreg.sample_views(options.image_size // 16)
    sides = {
        "tokens": lambda: denoise(backbone, images, views),
        "pixels": lambda: shift_pixels(backbone, images, views),
    }
    difference = (sides["tokens"]().flatten(2).transpose(1, 2) - sides["pixels"]()).abs().max().item()
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(options.rounds):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            if device == "cuda":
                torch.cuda.synchronize()
            best[name] = min(best[name], time.perf_counter() - started)
    machine = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{machine}, {platform.machine()}, torch {torch.__version__}; {vars(options)}")
    print(
        f"pixels {best['pixels']:.3f} s, tokens {best['tokens']:.3f} s: "
        f"{best['pixels'] / best['tokens']:.2f} times"
    )
    print(f"largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
