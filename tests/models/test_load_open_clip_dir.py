import json
import pickle
from pathlib import Path
from typing import Any

import open_clip
import pytest
import safetensors.torch
import torch

from phreg.config.run import TeacherConfig, absolute_model
from phreg.errors import CheckpointError, ModelError, ObjectNotFoundError
from phreg.models import clip_directory, load_backbone, load_teacher
from phreg.storage import Folder
from tests.helpers import save_tiny_open_clip

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    save_tiny_open_clip(tmp_path / "clip")
    return tmp_path / "clip"


def change(folder: Path, part: str, **values: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (config["model_cfg"] if part == "model_cfg" else config["model_cfg"][part]).update(values)
    (folder / CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize("half", [True, False])
def test_tower_is_open_clips_own(tmp_path: Path, half: bool) -> None:
    backbone = load_backbone(save_tiny_open_clip(tmp_path / "clip", half=half))
    stock = open_clip.create_model(f"local-dir:{tmp_path / 'clip'}").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone.vit(images), stock.encode_image(images), rtol=0, atol=1e-5)
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    assert (backbone.out_dim, backbone.patch_size, backbone.grid_size) == (16, 8, (8, 8))


def test_normalisation_is_the_configs(clip: Path) -> None:
    backbone = load_backbone(f"open_clip-dir:{clip}")
    assert backbone.mean.tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert backbone.std.tolist() == pytest.approx([0.2, 0.25, 0.3])
    config = json.loads((clip / CONFIG).read_text())
    del config["preprocess_cfg"]
    (clip / CONFIG).write_text(json.dumps(config))
    assert load_backbone(f"open_clip-dir:{clip}").mean.tolist() == pytest.approx(
        open_clip.OPENAI_DATASET_MEAN
    )


def test_as_a_teacher_at_twice_its_size(clip: Path) -> None:
    teacher = load_teacher(TeacherConfig(model=f"open_clip-dir:{clip}", image_size=128, read_out="naclip"))
    assert teacher(torch.randn(1, 3, 128, 128)).shape == (1, 16, 16, 16)
    assert teacher.weights_digest() == load_backbone(f"open_clip-dir:{clip}").weights_digest()


def test_a_directory_in_a_bucket(clip: Path, s3_folder: Folder) -> None:
    for name in (CONFIG, WEIGHTS):
        s3_folder.write(name, (clip / name).read_bytes())
    far = load_backbone(f"open_clip-dir:{s3_folder.url}")
    assert far.weights_digest() == load_backbone(f"open_clip-dir:{clip}").weights_digest()


def test_the_bundled_one_is_such_a_directory(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_directory, "_bundled_path", lambda: clip)
    bundled = load_backbone("phreg/small-clip")
    assert bundled.weights_digest() == load_backbone(f"open_clip-dir:{clip}").weights_digest()


def test_no_bundled_one_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_directory, "_bundled_path", lambda: tmp_path / "small_clip")
    with pytest.raises(ModelError, match="came without its small CLIP"):
        load_backbone("phreg/small-clip")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"There is no CLIP in .*nowhere"):
        load_backbone(f"open_clip-dir:{tmp_path / 'nowhere'}")


def test_config_without_weights(clip: Path) -> None:
    (clip / WEIGHTS).unlink()
    with pytest.raises(ObjectNotFoundError, match=WEIGHTS):
        load_backbone(f"open_clip-dir:{clip}")


class _Exploit:
    def __reduce__(self) -> tuple:
        return (exec, ("import builtins; builtins.phreg_was_exploited = True",))


def test_weights_are_never_unpickled(clip: Path) -> None:
    import builtins

    state = safetensors.torch.load((clip / WEIGHTS).read_bytes())  # load_file would map it
    for data in (pickle.dumps({"weight": _Exploit()}), b"", b"rubbish"):
        (clip / WEIGHTS).write_bytes(data)
        with pytest.raises(CheckpointError, match="no safetensors file"):
            load_backbone(f"open_clip-dir:{clip}")
    torch.save(state, clip / WEIGHTS)  # harmless, and still not what the layout says
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_backbone(f"open_clip-dir:{clip}")
    assert not hasattr(builtins, "phreg_was_exploited")


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"{}", b'{"model_cfg": 3}', b"[" * 100_000, b" " * (2 << 20), b"\xff\xfe"],
)
def test_rubbish_for_a_config(clip: Path, raw: bytes) -> None:
    (clip / CONFIG).write_bytes(raw)
    with pytest.raises(ModelError, match=CONFIG):
        load_backbone(f"open_clip-dir:{clip}")


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("model_cfg", {"embed_dim": 10**9}, "embed_dim"),
        ("model_cfg", {"multimodal_cfg": {}}, "unknown key 'multimodal_cfg'"),
        ("vision_cfg", {"width": -1}, "vision_cfg.width"),
        ("vision_cfg", {"layers": 10**6}, "vision_cfg.layers"),
        ("vision_cfg", {"image_size": 10**6}, "vision_cfg.image_size"),
        ("vision_cfg", {"code": "import os"}, "unknown key 'code'"),
        ("text_cfg", {"context_length": 10**6}, "text_cfg.context_length"),
        ("vision_cfg", {"timm_model_name": "hf-hub:somebody/something"}, "timm has no model"),
        ("vision_cfg", {"timm_model_name": "resnet18"}, "no plain ViT"),
        ("vision_cfg", {"qk_norm": True}, "no plain ViT"),
        ("vision_cfg", {"head_width": 5}, "head_width divides"),
        ("vision_cfg", {"head_width": 64}, "head_width divides"),
        ("vision_cfg", {"width": 16384}, "do not fit their config"),
        ("vision_cfg", {"layers": 200}, "do not fit their config"),
        ("vision_cfg", {"patch_size": 16}, "16 x 16 pixels"),
    ],
)
def test_hostile_or_mistaken_configs(clip: Path, part: str, values: dict, message: str) -> None:
    change(clip, part, **values)
    with pytest.raises(ModelError, match=message):
        load_backbone(f"open_clip-dir:{clip}")


def test_open_clip_names_are_no_paths(clip: Path) -> None:
    with pytest.raises(ModelError, match="open_clip has no model"):
        load_backbone(f"open_clip/local-dir:{clip}", checkpoint=str(clip / WEIGHTS))


def test_relative_paths_of_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_model("open_clip-dir:a/b") == f"open_clip-dir:{tmp_path}/a/b"
    assert absolute_model("local-dir:a/b") == f"local-dir:{tmp_path}/a/b"
    for name in ("open_clip/ViT-B-32:openai", "timm/x", "phreg/small-clip", "open_clip-dir:s3://bucket/x"):
        assert absolute_model(name) == name
