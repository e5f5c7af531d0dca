"""Directories in timm's and open_clip's hub layouts whose config asks for more than a ViT."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phreg.models import hub_files, load_backbone
from tests.faults.hostile.case import Case
from tests.helpers import save_tiny_open_clip, tiny_dinov2


@functools.cache
def _files() -> dict[str, bytes]:
    return hub_files(load_backbone(tiny_dinov2()))


def hub_directory(folder: Path) -> str:
    """A good model in timm's layout; returns its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in _files().items():
        (folder / name).write_bytes(data)
    return f"local-dir:{folder}"


def with_config(change: Callable[[dict[str, Any]], Any], folder: Path) -> str:
    model = hub_directory(folder / "model")
    path = folder / "model" / "config.json"
    made = change(json.loads(path.read_bytes()))
    path.write_bytes(made if isinstance(made, bytes) else json.dumps(made).encode())
    return model


def having(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config | changes


def arguments(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config | {"model_args": config["model_args"] | changes}


def pretrained(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config | {"pretrained_cfg": config["pretrained_cfg"] | changes}


def _without_weights(folder: Path) -> str:
    model = hub_directory(folder / "model")
    (folder / "model" / "model.safetensors").unlink()
    return model


def _large_clip(folder: Path) -> tuple[str, str]:
    """A directory that asks for 800 thousand million parameters, and weights given beside it."""
    vision = {"image_size": 64, "layers": 256, "width": 16_384, "head_width": 64, "patch_size": 8}
    model = _clip({"vision_cfg": vision}, folder)
    return model, str(folder / "clip" / "open_clip_model.safetensors")


def _clip(changes: dict[str, Any], folder: Path) -> str:
    model = save_tiny_open_clip(folder / "clip")
    path = folder / "clip" / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"] |= changes
    path.write_text(json.dumps(config))
    return model


_MADE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another hub's architecture": (having(architecture="hf-hub:somebody/evil"), "architecture"),
    "another folder's architecture": (having(architecture="local-dir:/etc"), "architecture"),
    "a path as architecture": (having(architecture="../../etc/passwd"), "architecture"),
    "an unknown architecture": (having(architecture="vit_of_the_future"), "architecture"),
    "a ResNet": (having(architecture="resnet18", model_args={}), "no plain ViT"),
    "no architecture": (lambda config: {"pretrained_cfg": {}}, "architecture"),
    "a checkpoint's path as an argument": (arguments(checkpoint_path="/tmp/evil.pth"), "no argument"),
    "a checkpoint's path in an overlay": (arguments(pretrained_cfg_overlay={"file": "x"}), "model_args"),
    "a wish to download": (arguments(pretrained=True), "no argument"),
    "a cache folder": (arguments(cache_dir="/tmp/x"), "no argument"),
    "a layer by its Python name": (arguments(norm_layer="os.system"), "os.system"),
    "ten million blocks": (arguments(depth=10_000_000), "depth"),
    "fewer than no blocks": (arguments(depth=-1), "depth"),
    "blocks 32 768 wide": (arguments(embed_dim=32_768, depth=24), "parameters; the weights have"),
    "images of 65 536 pixels": (arguments(img_size=65_536), "parameters; the weights have"),
    "patches of no pixels": (arguments(patch_size=0), "ZeroDivisionError"),
    "seven heads": (arguments(num_heads=7), "Cannot build"),
    "a mean in words": (pretrained(mean="grey"), "pretrained_cfg.mean"),
    "a mean that is NaN": (pretrained(mean=[float("nan")] * 3), "pretrained_cfg.mean"),
    "a std of zero": (pretrained(std=[0, 0, 0]), "pretrained_cfg.std"),
    "a mean of two": (pretrained(mean=[0.5, 0.5]), "pretrained_cfg.mean"),
    "a list": (lambda config: [1], "Cannot build"),
    "an empty config": (lambda config: b"", "JSONDecodeError"),
    "half a config": (lambda config: json.dumps(config).encode()[:200], "JSONDecodeError"),
    "100 000 brackets": (lambda config: b"[" * 100_000, "RecursionError"),
    "a config of 2 MB": (lambda config: b" " * (2 << 20) + b"{}", "more than"),
    "an unknown read-out": (having(phreg={"read_out": "eval"}), "no read-out 'eval'"),
    "our part a list": (having(phreg=[1]), "phreg"),
}
_CLIPS: dict[str, tuple[dict[str, Any], str, str]] = {
    "CLIP: a key that open_clip does not know": ({"evil": 1}, "ModelError", "unknown key"),
    "CLIP: a tower by a path": (
        {"vision_cfg": {"timm_model_name": "local-dir:/etc"}},
        "ModelError",
        "asks for",
    ),
    "CLIP: blocks that the weights lack": (
        {"vision_cfg": {"image_size": 64, "layers": 200, "width": 32, "head_width": 16, "patch_size": 8}},
        "CheckpointError",
        "do not fit their config",
    ),
    "CLIP: a tower of 2^40 layers": ({"vision_cfg": {"layers": 1 << 40}}, "ModelError", "layers"),
}
CASES = (
    *(
        Case("hub", name, functools.partial(with_config, change), "ModelError", says)
        for name, (change, says) in _MADE.items()
    ),
    *(
        Case("hub", name, functools.partial(_clip, changes), comes, says)
        for name, (changes, comes, says) in _CLIPS.items()
    ),
    Case("checkpoint", "for a vast CLIP", _large_clip, "CheckpointError", "parameters; the weights have"),
    Case("hub", "no weights", _without_weights, "ObjectNotFoundError", "model.safetensors"),
    Case("hub", "a good one", lambda folder: hub_directory(folder / "m"), "used", "64"),
)
