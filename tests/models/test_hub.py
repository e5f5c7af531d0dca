import json
from pathlib import Path

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from phreg.errors import ModelError, ObjectNotFoundError
from phreg.models import Student, add_registers, hub_files, load_backbone, load_student, timm_snippet
from phreg.storage import Folder
from tests.helpers import tiny_clip, tiny_dinov2


def saved(student: Student, path: Path) -> str:
    for name, data in hub_files(student, {"student": "test"}).items():
        (path / name).write_bytes(data)
    return str(path)


def a_student(vit: VisionTransformer, read_out: str) -> Student:
    return add_registers(load_backbone(vit, image_size=80), 4, read_out=read_out)


@pytest.mark.parametrize(
    ("vit", "read_out"),
    [
        (tiny_dinov2(), "standard"),
        (tiny_clip(), "value"),
        (tiny_clip(), "standard"),
        (tiny_dinov2(), "value"),
        *((vit, read_out) for vit in (tiny_clip(), tiny_dinov2()) for read_out in ("naclip", "csa", "qq")),
    ],
)
def test_stock_timm_gives_the_students_features(
    vit: VisionTransformer, read_out: str, tmp_path: Path
) -> None:
    student = a_student(vit, read_out)
    scope: dict = {"images": torch.randn(2, 3, 80, 80)}
    exec(timm_snippet(student, saved(student, tmp_path)), scope)
    expected = student(scope["images"]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(scope["features"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"])
def test_named_architectures_stay_named(name: str, tmp_path: Path) -> None:
    vit = timm.create_model(name, depth=1, img_size=112, num_classes=0)
    student = add_registers(load_backbone(vit), 2)
    path = saved(student, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architecture"] == name
    stock = timm.create_model(f"local-dir:{path}", pretrained=True)
    assert stock.reg_token.shape[1] == student.vit.reg_token.shape[1]


def test_the_older_layout_of_one_dict(tmp_path: Path) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=7)
    flat = {"architecture": "vit_tiny_patch16_224", "num_classes": 7, "num_features": 192}
    flat |= {"input_size": [3, 224, 224], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    (tmp_path / "config.json").write_text(json.dumps(flat))
    torch.save(vit.state_dict(), tmp_path / "pytorch_model.bin")
    loaded, stock = load_backbone(f"local-dir:{tmp_path}"), timm.create_model(f"local-dir:{tmp_path}", True)
    assert stock.pretrained_cfg["mean"] == flat["mean"] == pytest.approx(loaded.mean.flatten().tolist())
    assert loaded.weights_digest() == load_backbone(stock).weights_digest()


def test_load_student(tmp_path: Path, s3_folder: Folder) -> None:
    student = a_student(tiny_clip(), "value")
    for name, data in hub_files(student).items():
        s3_folder.write(name, data)
    images = torch.randn(1, 3, 80, 80)
    for uri in (saved(student, tmp_path), s3_folder.url):
        loaded = load_student(uri)
        assert loaded.read_out == "value"
        assert torch.equal(loaded(images), student(images))
        assert loaded.mean.tolist() == pytest.approx(student.mean.tolist())


def test_missing_and_broken_folders(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError, match=r"config\.json"):
        load_student(str(tmp_path))
    (tmp_path / "config.json").write_text('{"architecture": "resnet18", "pretrained_cfg": {}}')
    with pytest.raises(ModelError, match="no plain ViT"):
        load_student(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"Cannot build the model described by .*config\.json"):
        load_student(str(tmp_path))


def test_network_that_stock_timm_cannot_build() -> None:
    student = add_registers(load_backbone(tiny_dinov2()), 2)
    student.vit.blocks[0].norm1.eps = 1e-3
    with pytest.raises(ModelError, match="stock timm"):
        hub_files(student)


def test_equal_networks_have_equal_arguments(tmp_path: Path) -> None:
    """Built by hand or by timm from names: one architecture, one spec digest, one cache."""
    for vit in (tiny_dinov2(), tiny_clip(), tiny_dinov2(act_layer="gelu_tanh")):
        for name, data in hub_files(load_backbone(vit)).items():
            (tmp_path / name).write_bytes(data)
        assert load_backbone(f"local-dir:{tmp_path}").architecture == load_backbone(vit).architecture


def test_oblong_grid_with_a_square_number_of_patches(tmp_path: Path) -> None:
    """8 x 18 patches are 144, as 12 x 12 are."""
    student = add_registers(load_backbone(tiny_dinov2(), image_size=(64, 144)), 2)
    loaded = load_student(saved(student, tmp_path))
    images = torch.randn(1, 3, 64, 144)
    assert loaded.grid_size == (8, 18)
    assert torch.equal(loaded(images), student(images))


def test_value_snippet_of_a_model_with_its_norm_behind_the_pool(tmp_path: Path) -> None:
    student = a_student(tiny_dinov2(global_pool="avg"), "value")
    scope: dict = {"images": torch.randn(1, 3, 80, 80)}
    exec(timm_snippet(student, saved(student, tmp_path)), scope)
    expected = student(scope["images"]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(scope["features"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_not_saved(value: float) -> None:
    student = add_registers(load_backbone(tiny_dinov2()), 2)
    with torch.no_grad():
        student.vit.blocks[1].mlp.fc2.weight[0, 3] = value
    with pytest.raises(ModelError, match=r"NaN or Inf(?s:.)*blocks\.1\.mlp\.fc2\.weight"):
        hub_files(student)
