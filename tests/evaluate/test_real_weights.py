"""Verdicts on real weights and photographs: CLIP has artifacts before the final norm, DINOv2 S/14 none."""

import os
import tarfile
from pathlib import Path

import pytest
import timm
from safetensors.torch import load_file

from phreg.evaluate import inspect_model
from phreg.models import Backbone, load_backbone

pytestmark = pytest.mark.shared
SHARDS = ("photos-000001", "photos-000002", "photos-000004")
OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture
def photos(shared_folder: Path, tmp_path: Path) -> list[str]:
    """The first photograph of some shards."""
    for shard in SHARDS:
        with tarfile.open(shared_folder / f"data/photos/{shard}.tar") as tar:
            first = min(name for name in tar.getnames() if name.endswith(".jpg"))
            tar.extract(first, tmp_path, filter="data")
    return sorted(map(str, tmp_path.glob("*.jpg")))


@pytest.fixture
def clip(shared_folder: Path) -> Backbone:
    """CLIP ViT-B/16, its matrices de-quantised from int8 with a scale per output channel."""
    file = shared_folder / "weights/clip_vit_b16.int8.safetensors"
    if not file.exists():
        pytest.skip(f"no {file.name} in ../shared/weights: the verdict on a real CLIP is not tested")
    stored, end = load_file(file), ".scale"
    names = [name for name in stored if not name.endswith(end)]
    scales = {name: stored[name + end][:, None] for name in names if name + end in stored}
    weights = {name: stored[name].float() * scales.get(name, 1) for name in names}
    vit = timm.create_model(
        "vit_base_patch16_clip_quickgelu_224", num_classes=weights["head.weight"].shape[0]
    )
    vit.load_state_dict(weights)
    return load_backbone(vit, head="projection", mean=OPENAI_MEAN, std=OPENAI_STD)


def test_clip_is_dirty_before_the_final_norm_which_hides_it(clip: Backbone, photos: list[str]) -> None:
    found = inspect_model(clip, photos, views=2)
    assert len(found.per_image) == len(SHARDS)
    assert found.verdict.startswith("dirty: ")
    assert 0.02 < found.metrics["artifact_rate"] < 0.11
    assert all(float(row["artifact_rate"]) > 0.01 for row in found.per_image), "each photograph shows it"
    assert 15 < found.metrics["norm_ratio"] < 30
    assert found.metrics["outlier_rate"] == 0
    rates = [float(row["artifact_rate"]) for row in found.layers]
    assert max(rates[:4]) == 0, "they come up in the middle of the network"
    assert min(rates[6:12]) > 0.02, "and stay until the final norm"


def test_dinov2_has_no_artifacts(photos: list[str]) -> None:
    directory = os.environ.get("PHREG_DINOV2_S14")
    if not directory:
        pytest.skip("PHREG_DINOV2_S14 names no directory of a DINOv2 ViT-S/14 in timm's hub layout")
    found = inspect_model(load_backbone(f"local-dir:{directory}", image_size=224), photos, views=2)
    assert not found.verdict.startswith("dirty")
    assert found.metrics["artifact_rate"] < 0.002
    assert found.metrics["outlier_rate"] < 0.002
    assert found.metrics["norm_ratio"] < 2
