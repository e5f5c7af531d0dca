"""Largest differences from the paper's reference implementation, vector by vector (fp32, CPU).

python benchmarks/parity.py ../shared/parity
"""

import phreg  # isort: skip  (first: it lets timm import beside a CPU-only torch)
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timm.layers import LayerNorm
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from phreg.method.views import Views
from phreg.models import Backbone


def main(folder: Path) -> None:
    rows = [*dinov2(folder), *clip(folder)]
    print("| vector | largest difference |\n| --- | --- |")
    for name, ours, theirs in rows:
        print(f"| {name} | {(ours - theirs).abs().max().item():.1e} |")


def dinov2(folder: Path) -> list[tuple[str, Tensor, Tensor]]:
    known = _vectors(folder / "dinov2.npz")
    vit = VisionTransformer(
        img_size=126, patch_size=14, embed_dim=64, depth=3, num_heads=4, init_values=1e-5, num_classes=0
    )
    teacher = phreg.load_backbone(vit, checkpoint=str(folder / "dinov2.safetensors"))
    views = Views(known["offsets"], known["flips"])
    student = phreg.add_registers(teacher, 16)
    student.vit.reg_token.data.copy_(known["registers"])
    predicted = _tokens(student(known["images"]))
    loss = phreg.distillation_loss(known["teacher_denoised"], predicted)
    return [
        ("DINOv2 teacher, view 0", _tokens(teacher(known["images"])), known["teacher_views"][:, 0, 1:]),
        (
            "DINOv2 denoised",
            _tokens(phreg.denoise(teacher, known["images"], views)),
            known["teacher_denoised"],
        ),
        ("DINOv2 student", predicted, known["student_patches"]),
        ("DINOv2 loss, total", loss.total, known["loss_total"]),
    ]


def clip(folder: Path) -> list[tuple[str, Tensor, Tensor]]:
    known = _vectors(folder / "clip.npz")
    views = Views(known["offsets"], known["flips"])
    rows = []
    for read_out, vector in (
        ("naclip", "naclip_reduced"),
        ("csa", "csa_vanilla"),
        ("standard", "vanilla_vanilla"),
    ):
        features = _tokens(_clip(folder, read_out)(known["images_112"]))
        rows.append((f"CLIP {read_out}", features, known[f"dense_{vector}_112"][:, 1:]))
    for read_out, vector in (("naclip", "naclip_reduced"), ("standard", "vanilla_vanilla")):
        denoised = _tokens(phreg.denoise(_clip(folder, read_out), known["images_112"], views))
        rows.append((f"CLIP denoised, {read_out}", denoised, known[f"tta_{vector}_112"]))
    for size in (112, 144):
        value = _clip(folder, "value", size)
        student = phreg.add_registers(value, 16)
        student.vit.reg_token.data.copy_(known["registers"][None])
        images = known[f"images_{size}"]
        rows.append(
            (f"CLIP value, {size} px", _tokens(value(images)), known[f"maskclip_noreg_{size}"][:, 1:])
        )
        rows.append(
            (f"CLIP student, {size} px", _tokens(student(images)), known[f"student_clipreg_{size}"][:, 1:-16])
        )
    return rows


def _clip(folder: Path, read_out: str, size: int = 112) -> Backbone:
    vit = VisionTransformer(
        img_size=112, patch_size=16, embed_dim=128, depth=3, num_heads=2, pre_norm=True, num_classes=32,
        act_layer="quick_gelu", norm_layer=partial(LayerNorm, eps=1e-5),
    )  # fmt: skip
    return phreg.load_backbone(vit, str(folder / "clip.safetensors"), size, read_out)


def _vectors(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: torch.from_numpy(np.asarray(archive[name])) for name in archive.files}


def _tokens(features: Tensor) -> Tensor:
    return features.flatten(2).transpose(1, 2)


if __name__ == "__main__":
    with torch.no_grad():
        main(Path(sys.argv[1]))
