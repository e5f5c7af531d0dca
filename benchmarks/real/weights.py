"""The CLIP tower of the benchmark: a directory in timm's hub layout, or int8 matrices made into one."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

FOLDER, QUANTISED = "clip-b16", "clip_vit_b16.int8.safetensors"
SCALE = ".scale"
CONFIG = {
    "architecture": "vit_base_patch16_clip_quickgelu_224",
    "num_classes": 512,
    "global_pool": "token",
    "pretrained_cfg": {
        "input_size": [3, 224, 224],
        "num_classes": 512,
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
    },
}


def is_there(weights: Path) -> bool:
    return (weights / FOLDER / "config.json").exists() or (weights / QUANTISED).exists()


def clip_folder(weights: Path, out: Path) -> Path:
    """The tower's directory: the user's, or below `out`, written once."""
    own, made = weights / FOLDER, out / FOLDER
    if (own / "config.json").exists():
        return own
    if not (made / "config.json").exists():
        made.mkdir(parents=True, exist_ok=True)
        save_file(dequantised(load_file(weights / QUANTISED)), made / "model.safetensors")
        (made / "config.json").write_text(json.dumps(CONFIG, indent=1))  # last: it says that all is there
    return made


def dequantised(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float32 from int8 matrices with a scale a row, `NAME` and `NAME.scale`; all else as it is."""
    found = {}
    for name, values in stored.items():
        scale = stored.get(name + SCALE)
        if scale is not None:
            found[name] = values.float() * scale[:, None]
        elif not name.endswith(SCALE):
            found[name] = values
    return found
