"""The script that trains the small CLIP: a few steps of it, as a user runs it, twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from phreg.models import load_backbone, load_text

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks/small_clip.py"
OPTIONS = ["--steps", "3", "--scenes", "40", "--batch", "16", "--watch", "3", "--threads", "1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = [tmp_path_factory.mktemp(name) for name in ("a", "b")]
    started = [
        subprocess.Popen([sys.executable, SCRIPT, *OPTIONS, "--output", folder], stderr=subprocess.PIPE)
        for folder in folders
    ]
    for process in started:
        _, error = process.communicate(timeout=400)
        assert process.returncode == 0, error.decode()[-2000:]
    return folders


def test_equal_options_give_equal_weights(trained: list[Path]) -> None:
    first, second = ((folder / "open_clip_model.safetensors").read_bytes() for folder in trained)
    assert first == second
    assert len(first) < 20e6


def test_what_it_writes_is_a_teacher_and_its_text(trained: list[Path]) -> None:
    name = f"open_clip-dir:{trained[0]}"
    backbone = load_backbone(name, image_size=128, read_out="value")
    assert backbone.grid_size == (16, 16)
    assert backbone.out_dim == load_text(name).out_dim == 128
    assert 1e6 < sum(p.numel() for p in backbone.vit.parameters()) < 3e6


def test_its_record_has_curve_and_held_out_quality(trained: list[Path]) -> None:
    record = json.loads((trained[0] / "training.json").read_text())
    assert len(record["loss"]) == 3
    assert record["options"]["steps"] == 3
    assert {"image_to_text", "text_to_image", "miou_value", "miou_denoised", "cosine_p50"} <= set(
        record["looks"][-1]
    )
