"""The paper's reference implementation, to 1e-5 in fp32 (see ../shared/parity/README.md)."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.layers import LayerNorm
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import phreg
from phreg.method.view_features import placement_indices, view_features
from phreg.method.views import Views
from phreg.models import Backbone
from phreg.models.read_outs import neighbour_bias

TOLERANCE = {"rtol": 0, "atol": 1e-5}
Vectors = dict[str, Tensor]


def load_vectors(folder: Path, name: str) -> Vectors:
    with np.load(folder / "parity" / f"{name}.npz", allow_pickle=False) as archive:
        return {key: torch.from_numpy(np.asarray(archive[key])) for key in archive.files}


def tokens(features: Tensor) -> Tensor:
    return features.flatten(2).transpose(1, 2)


@pytest.fixture(scope="module")
def dinov2(shared_folder: Path) -> tuple[Backbone, Vectors]:
    vit = VisionTransformer(
        img_size=126, patch_size=14, embed_dim=64, depth=3, num_heads=4, init_values=1e-5, num_classes=0
    )
    checkpoint = str(shared_folder / "parity" / "dinov2.safetensors")
    return phreg.load_backbone(vit, checkpoint=checkpoint), load_vectors(shared_folder, "dinov2")


@pytest.fixture(scope="module")
def clip_vectors(shared_folder: Path) -> Vectors:
    return load_vectors(shared_folder, "clip")


def clip_backbone(folder: Path, read_out: str, image_size: int = 112) -> Backbone:
    vit = VisionTransformer(
        img_size=112, patch_size=16, embed_dim=128, depth=3, num_heads=2, pre_norm=True, num_classes=32,
        act_layer="quick_gelu", norm_layer=partial(LayerNorm, eps=1e-5),
    )  # fmt: skip
    checkpoint = str(folder / "parity" / "clip.safetensors")
    return phreg.load_backbone(vit, checkpoint=checkpoint, read_out=read_out, image_size=image_size)


def test_dinov2_fill_is_white(dinov2: tuple[Backbone, Vectors]) -> None:
    backbone, vectors = dinov2
    torch.testing.assert_close((1 - backbone.mean) / backbone.std, vectors["fill_value"], **TOLERANCE)


def test_dinov2_teacher_views(dinov2: tuple[Backbone, Vectors]) -> None:
    """Every view of the reference, put back on the crop's grid, where it saw the crop."""
    backbone, vectors = dinov2
    views = Views(vectors["offsets"], vectors["flips"])
    features, seen = view_features(backbone, vectors["images"], views)
    place = torch.from_numpy(placement_indices(views, (9, 9)))
    reference = vectors["teacher_views"][:, :, 1:]
    index = place.clamp(min=0)[None, ..., None].expand(2, -1, -1, 64)
    expected = torch.where(seen[..., None], reference.gather(2, index), 0.0)
    torch.testing.assert_close(features, expected, **TOLERANCE)
    assert torch.equal(seen[0].sum(0).reshape(9, 9), vectors["contribution_count"].long())


@pytest.mark.parametrize("view", [1, 3])
def test_dinov2_shifted_tokens_are_the_shifted_image(dinov2: tuple[Backbone, Vectors], view: int) -> None:
    backbone, vectors = dinov2
    views = Views(vectors["offsets"][[view]], vectors["flips"][[view]])
    features, seen = view_features(backbone, vectors["images"][:1], views)
    whole = tokens(backbone(vectors[f"shifted_image_img0_view{view}"][None]))
    place = torch.from_numpy(placement_indices(views, (9, 9)))[0]
    torch.testing.assert_close(features[0, 0][seen[0, 0]], whole[0][place[seen[0, 0]]], **TOLERANCE)


def test_dinov2_denoised(dinov2: tuple[Backbone, Vectors]) -> None:
    backbone, vectors = dinov2
    denoised = phreg.denoise(backbone, vectors["images"], Views(vectors["offsets"], vectors["flips"]))
    torch.testing.assert_close(tokens(denoised), vectors["teacher_denoised"], **TOLERANCE)


def test_dinov2_student_and_losses(dinov2: tuple[Backbone, Vectors]) -> None:
    backbone, vectors = dinov2
    student = phreg.add_registers(backbone, 16)
    student.vit.reg_token.data.copy_(vectors["registers"])
    predicted = tokens(student(vectors["images"]))
    torch.testing.assert_close(predicted, vectors["student_patches"], **TOLERANCE)
    loss = phreg.distillation_loss(vectors["teacher_denoised"], predicted)
    torch.testing.assert_close(loss.cosine, vectors["loss_cosine"], **TOLERANCE)
    torch.testing.assert_close(loss.mse, vectors["loss_mse_coeff1"], **TOLERANCE)
    torch.testing.assert_close(loss.total, vectors["loss_total"], **TOLERANCE)


@pytest.mark.parametrize(
    ("read_out", "vector"),
    [("naclip", "naclip_reduced"), ("csa", "csa_vanilla"), ("standard", "vanilla_vanilla")],
)
def test_clip_read_outs(shared_folder: Path, clip_vectors: Vectors, read_out: str, vector: str) -> None:
    backbone = clip_backbone(shared_folder, read_out)
    features = tokens(backbone(clip_vectors["images_112"]))
    torch.testing.assert_close(features, clip_vectors[f"dense_{vector}_112"][:, 1:], **TOLERANCE)


def test_clip_qq_is_kk_with_queries_and_keys_swapped(shared_folder: Path, clip_vectors: Vectors) -> None:
    """The vectors have k k^T; with the last block's q and k weights swapped, `qq` computes just that."""
    backbone = clip_backbone(shared_folder, "qq")
    qkv = backbone.vit.blocks[-1].attn.qkv
    for parameter in (qkv.weight, qkv.bias):
        q, k, v = parameter.data.chunk(3)
        parameter.data = torch.cat([k, q, v])
    features = tokens(backbone(clip_vectors["images_112"]))
    torch.testing.assert_close(features, clip_vectors["dense_kk_reduced_112"][:, 1:], **TOLERANCE)


@pytest.mark.parametrize(
    ("read_out", "vector"), [("naclip", "naclip_reduced"), ("standard", "vanilla_vanilla")]
)
def test_clip_denoised(shared_folder: Path, clip_vectors: Vectors, read_out: str, vector: str) -> None:
    backbone = clip_backbone(shared_folder, read_out)
    views = Views(clip_vectors["offsets"], clip_vectors["flips"])
    denoised = tokens(phreg.denoise(backbone, clip_vectors["images_112"], views))
    torch.testing.assert_close(denoised, clip_vectors[f"tta_{vector}_112"], **TOLERANCE)


def test_naclip_bias(clip_vectors: Vectors) -> None:
    torch.testing.assert_close(neighbour_bias((7, 7), 1), clip_vectors["naclip_bias_112"], **TOLERANCE)


@pytest.mark.parametrize("size", [112, 144])
def test_clip_value_path(shared_folder: Path, clip_vectors: Vectors, size: int) -> None:
    """Resampled once at load, and on the way when an image of another size comes."""
    expected = clip_vectors[f"maskclip_noreg_{size}"][:, 1:]
    for backbone in (clip_backbone(shared_folder, "value", size), clip_backbone(shared_folder, "value")):
        features = tokens(backbone(clip_vectors[f"images_{size}"]))
        torch.testing.assert_close(features, expected, **TOLERANCE)


def test_clip_positional_embedding_at_another_size(shared_folder: Path, clip_vectors: Vectors) -> None:
    vit = clip_backbone(shared_folder, "value", 144).vit
    torch.testing.assert_close(vit.pos_embed[0], clip_vectors["pos_embed_144_clipreg"], **TOLERANCE)


@pytest.mark.parametrize("size", [112, 144])
def test_clip_student(shared_folder: Path, clip_vectors: Vectors, size: int) -> None:
    student = phreg.add_registers(clip_backbone(shared_folder, "value", size), 16)
    student.vit.reg_token.data.copy_(clip_vectors["registers"][None])
    predicted = tokens(student(clip_vectors[f"images_{size}"]))
    expected = clip_vectors[f"student_clipreg_{size}"][:, 1:-16]
    torch.testing.assert_close(predicted, expected, **TOLERANCE)


def test_clip_losses(clip_vectors: Vectors) -> None:
    predicted = clip_vectors["student_clipreg_112"][:, 1:-16]
    loss = phreg.distillation_loss(clip_vectors["tta_naclip_reduced_112"], predicted)
    torch.testing.assert_close(loss.cosine, clip_vectors["loss_cosine_112"], **TOLERANCE)
    torch.testing.assert_close(loss.mse, clip_vectors["loss_mse_coeff1_112"], **TOLERANCE)
