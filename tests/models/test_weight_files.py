import argparse
import json
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from timm.models import save_for_hf

from phreg.errors import CheckpointError, ObjectNotFoundError
from phreg.models import load_backbone
from phreg.models.weight_files import parse_state_dict
from phreg.storage import Folder
from tests.helpers import save_tiny_open_clip, tiny_dinov2


def write_sharded(folder: Path, kind: str) -> str:
    """The weights of a tiny network in two files and an index, as large models are published."""
    state = tiny_dinov2().state_dict()
    names = list(state)
    parts = {f"part-{i}-of-2.{kind}": names[i::2] for i in range(2)}
    for file, inside in parts.items():
        part = {name: state[name] for name in inside}
        if kind == "safetensors":
            safetensors.torch.save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
    stem = "model.safetensors" if kind == "safetensors" else "pytorch_model.bin"
    index = folder / f"{stem}.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file in parts for name in parts[file]}}))
    return str(index)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_sharded_checkpoints_by_their_index(kind: str, tmp_path: Path) -> None:
    backbone = load_backbone(tiny_dinov2(seed=1), write_sharded(tmp_path, kind))
    assert backbone.weights_digest() == load_backbone(tiny_dinov2()).weights_digest()


def test_a_sharded_checkpoint_in_a_bucket(tmp_path: Path, s3_folder: Folder) -> None:
    write_sharded(tmp_path, "safetensors")
    for path in tmp_path.iterdir():
        s3_folder.write(path.name, path.read_bytes())
    backbone = load_backbone(tiny_dinov2(seed=1), s3_folder.url_of("model.safetensors.index.json"))
    assert backbone.weights_digest() == load_backbone(tiny_dinov2()).weights_digest()


@pytest.mark.parametrize(
    "index",
    [
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": {"a": "../x"}}',
        '{"weight_map": {"a": 3}}',
        "[" * 9999,
    ],
)
def test_an_index_that_is_none(index: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(index)
    with pytest.raises(CheckpointError, match="index of a sharded checkpoint"):
        load_backbone(tiny_dinov2(), str(path))


def test_a_shard_that_is_not_there(tmp_path: Path) -> None:
    index = write_sharded(tmp_path, "safetensors")
    (tmp_path / "part-1-of-2.safetensors").unlink()
    with pytest.raises(ObjectNotFoundError, match="part-1-of-2"):
        load_backbone(tiny_dinov2(), index)


@pytest.mark.parametrize("kind", ["pytorch_model.bin", "pytorch_model.pth", "model.pth", "sharded"])
def test_a_hub_directory_without_safetensors(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=0)
    save_for_hf(vit, tmp_path, safe_serialization=kind == "sharded")
    if kind.endswith(".pth"):
        (tmp_path / "pytorch_model.bin").rename(tmp_path / kind)
    if kind == "sharded":
        (tmp_path / "model.safetensors").rename(tmp_path / "a.safetensors")
        index = {"weight_map": dict.fromkeys(vit.state_dict(), "a.safetensors")}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert not (tmp_path / "model.safetensors").exists()
    assert load_backbone(f"local-dir:{tmp_path}").weights_digest() == load_backbone(vit).weights_digest()


def test_a_hub_directory_with_one_file_of_any_name(tmp_path: Path) -> None:
    """As timm's own training leaves it."""
    vit = timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=0)
    save_for_hf(vit, tmp_path, safe_serialization=True)
    (tmp_path / "model.safetensors").unlink()
    for name in ("model_best.pth.tar", "last.pth.tar"):
        torch.save({"state_dict": vit.state_dict(), "epoch": 3, "arch": "vit"}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"which weights(?s:.)*last\.pth\.tar, model_best\.pth\.tar"):
        load_backbone(f"local-dir:{tmp_path}")
    (tmp_path / "last.pth.tar").unlink()
    assert load_backbone(f"local-dir:{tmp_path}").weights_digest() == load_backbone(vit).weights_digest()


def test_an_open_clip_directory_without_safetensors(tmp_path: Path) -> None:
    model = save_tiny_open_clip(tmp_path)
    digest = load_backbone(model).weights_digest()
    safe = tmp_path / "open_clip_model.safetensors"
    torch.save(safetensors.torch.load(safe.read_bytes()), tmp_path / "open_clip_pytorch_model.bin")
    safe.unlink()
    assert load_backbone(model).weights_digest() == digest


def test_a_hub_directory_without_weights_names_the_first_file(tmp_path: Path) -> None:
    save_for_hf(timm.create_model("vit_tiny_patch16_224", depth=1), tmp_path, safe_serialization=True)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ObjectNotFoundError, match=r"model\.safetensors\n"):
        load_backbone(f"local-dir:{tmp_path}")


def test_objects_beside_the_weights_are_named_plainly(tmp_path: Path) -> None:
    path = tmp_path / "mae.pth"
    vit, args = tiny_dinov2(), argparse.Namespace(lr=1e-4)  # as MAE's and timm's own training saves them
    torch.save({"model": vit.state_dict(), "args": args}, path)
    loaded = load_backbone(tiny_dinov2(seed=1), str(path))
    assert loaded.weights_digest() == load_backbone(vit).weights_digest()
    args.out = tmp_path
    torch.save({"model": vit.state_dict(), "args": args}, path)
    with pytest.raises(CheckpointError) as caught:
        parse_state_dict(path.read_bytes(), str(path))
    assert "Path" in caught.value.found
    assert str(caught.value).replace("\n", "").isprintable()
    assert "set to `False`" not in str(caught.value)


def test_torchscript_says_how_to_convert_it() -> None:
    import io

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    with pytest.raises(CheckpointError, match=r"TorchScript(?s:.)*torch\.jit\.load"):
        parse_state_dict(buffer.getvalue(), "ViT-B-32.pt")
