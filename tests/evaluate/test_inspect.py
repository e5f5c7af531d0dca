"""Inspection of any backbone with any images: measures, verdict, figure, and what was left out."""

import io
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from phreg.errors import ConfigError, DataError
from phreg.evaluate import Inspection, inspect_model
from phreg.evaluate.verdict import verdict
from phreg.models import load_backbone
from phreg.storage import Folder
from phreg.types import HIGHER_IS_BETTER, KEPT_FROM_TEACHER
from tests.evaluate.planted import Planted
from tests.helpers import jpeg_bytes, make_image, tiny_clip, tiny_dinov2


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    sizes = [(96, 80), (40, 90), (7, 9)]
    for i, (width, height) in enumerate(sizes):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg_bytes(make_image(i, width, height)))
    return [str(tmp_path / f"{i}.jpg") for i in range(len(sizes))]


@pytest.mark.parametrize(
    ("build", "read_out"), [(tiny_dinov2, "standard"), (tiny_clip, "naclip"), (tiny_clip, "value")]
)
def test_any_backbone_can_be_inspected(build: type, read_out: str, photos: list[str]) -> None:
    progress: list[tuple[int, int]] = []
    backbone = load_backbone(build(32), read_out=read_out)
    found = inspect_model(backbone, photos, on_progress=lambda done, total: progress.append((done, total)))
    assert set(found.metrics) == set(HIGHER_IS_BETTER) - set(KEPT_FROM_TEACHER)
    assert [row["image"] for row in found.per_image] == photos
    assert all(set(row) == {"image", *found.metrics} for row in found.per_image)
    assert 0.3 < found.metrics["target_cosine_p50"] <= 1
    assert found.skipped == ()
    assert found.verdict == verdict(found.metrics)
    assert progress == [(1, 3), (2, 3), (3, 3)]
    Image.open(io.BytesIO(found.figure), formats=["PNG"]).load()


@pytest.mark.parametrize("size", [(32, 64), (64, 16)])
def test_an_input_need_not_be_square(size: tuple[int, int], photos: list[str]) -> None:
    backbone = load_backbone(tiny_clip(32), image_size=size)
    place = size[0] // 8 * (size[1] // 8) - 2
    backbone.vit.blocks[-1] = Planted(backbone.vit.blocks[-1], [place], 1)
    found = inspect_model(backbone, photos)
    assert found.metrics["artifact_rate"] == pytest.approx(1 / (size[0] // 8 * (size[1] // 8)))
    Image.open(io.BytesIO(found.figure), formats=["PNG"]).load()


def test_an_image_is_measured_the_same_whatever_is_beside_it(photos: list[str]) -> None:
    backbone = load_backbone(tiny_dinov2(32))
    together = inspect_model(backbone, photos, seed=3)
    assert inspect_model(backbone, photos, seed=3) == together
    for i, photo in enumerate(photos):
        alone = inspect_model(backbone, [photo], seed=3)
        assert alone.per_image == (together.per_image[i],)
    assert inspect_model(backbone, photos, seed=4).metrics != together.metrics
    copy = shutil.copy(photos[0], Path(photos[0]).with_name("copy.jpg"))
    assert inspect_model(backbone, [str(copy)], seed=3).metrics == alone_metrics(together, 0)


def alone_metrics(inspection: Inspection, index: int) -> dict[str, str | float]:
    return {name: value for name, value in inspection.per_image[index].items() if name != "image"}


def test_what_cannot_be_read_is_skipped_and_named(photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    odd = [str(tmp_path / "bad.jpg"), str(tmp_path / "none.jpg"), str(tmp_path)]
    found = inspect_model(load_backbone(tiny_dinov2(32)), [odd[0], *photos, *odd[1:]])
    assert len(found.per_image) == 3
    assert [item.key for item in found.skipped] == odd
    assert all(item.reason for item in found.skipped)
    with pytest.raises(DataError, match="None of 3 images") as caught:
        inspect_model(load_backbone(tiny_dinov2(32)), odd)
    assert "bad.jpg" in str(caught.value)
    assert f"Cannot read {tmp_path}: a folder" in str(caught.value)
    assert "FOLDER/*.jpg" in str(caught.value)


def test_images_come_from_any_url(s3_folder: Folder) -> None:
    s3_folder.write("a.jpg", jpeg_bytes(make_image(0)))
    found = inspect_model(load_backbone(tiny_dinov2(32)), [s3_folder.url_of("a.jpg")])
    assert [row["image"] for row in found.per_image] == [s3_folder.url_of("a.jpg")]


def test_a_model_that_gives_nan_is_not_inspected(photos: list[str]) -> None:
    backbone = load_backbone(tiny_dinov2(32))
    with torch.no_grad():
        backbone.vit.norm.bias[0] = float("nan")
    with pytest.raises(DataError, match="NaN or Inf"):
        inspect_model(backbone, photos)


def test_what_cannot_be_inspected(photos: list[str]) -> None:
    backbone = load_backbone(tiny_dinov2(32))
    with pytest.raises(ConfigError, match="One view"):
        inspect_model(backbone, photos, views=1)
    with pytest.raises(ConfigError, match="no images"):
        inspect_model(backbone, [])


def test_layers_have_a_row_per_block_and_one_after_the_final_norm(photos: list[str]) -> None:
    found = inspect_model(load_backbone(tiny_clip(32, depth=3)), photos)
    assert [row["after"] for row in found.layers] == ["block 1", "block 2", "block 3", "final norm"]
    blocks, final = found.layers[:-1], found.layers[-1]
    assert found.metrics["norm_ratio"] == max(float(row["norm_ratio"]) for row in blocks)
    assert found.metrics["artifact_rate"] == max(float(row["artifact_rate"]) for row in blocks)
    assert found.metrics["outlier_rate"] == final["artifact_rate"]


def test_names_that_are_no_utf8_are_shown_and_drawn(photos: list[str], tmp_path: Path) -> None:
    odd = os.fsdecode(bytes(tmp_path) + b"/f\xe9te.jpg")
    broken = os.fsdecode(bytes(tmp_path) + b"/\xff.jpg")
    shutil.copy(photos[0], odd)
    Path(broken).write_bytes(b"no image")
    found = inspect_model(load_backbone(tiny_dinov2(32)), [odd, broken])
    (row,), (skipped,) = found.per_image, found.skipped
    assert str(row["image"]).endswith("f\\udce9te.jpg")
    assert skipped.key.endswith("\\udcff.jpg")
    (str(row["image"]) + skipped.key + skipped.reason).encode()
    Image.open(io.BytesIO(found.figure), formats=["PNG"]).load()


@pytest.mark.parametrize(
    ("artifact_rate", "outlier_rate", "shift_cosine", "word"),
    [
        (0.0, 0.0, 0.99, "clean"),
        (0.0019, 0.0019, 0.90, "clean"),
        (0.002, 0.0, 0.99, "in between"),
        (0.0, 0.002, 0.99, "in between"),
        (0.0, 0.0, 0.89, "in between"),
        (0.0, 0.0, 0.80, "in between"),
        (0.01, 0.0, 0.99, "dirty"),
        (0.0, 0.01, 0.99, "dirty"),
        (0.0, 0.0, 0.69, "dirty"),
    ],
)
def test_the_verdict_follows_its_rules_of_thumb(
    artifact_rate: float, outlier_rate: float, shift_cosine: float, word: str
) -> None:
    line = verdict(
        {
            "artifact_rate": artifact_rate,
            "norm_ratio": 3.0,
            "outlier_rate": outlier_rate,
            "shift_cosine_mean": shift_cosine,
        }
    )
    assert line.startswith(f"{word}:")
    assert "rules of thumb" in line
    assert "\n" not in line
