"""A CLIP with a student as its image tower, in open_clip's hub layout, for open_clip's own API.

open_clip's towers have no registers; it takes timm's too, by name, and timm takes a folder for a name. So
`open_clip_config.json` names the folder that it is in, where timm finds `config.json`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from phreg.errors import ModelError
from phreg.models import hub
from phreg.models.backbone import Backbone
from phreg.models.clip_details import OPENAI_ENTRIES
from phreg.models.clip_directory import CONFIG_FILE, WEIGHTS_FILE
from phreg.models.text import read_clip


def clip_files(student: Backbone, clip: str, checkpoint: str | None, folder: Path) -> dict[str, bytes]:
    """Files by name, the config last; they work in `folder`, which the config names.

    `clip` and `checkpoint` are those of the CLIP that the student is of, as `load_text` takes them. Raises
    `ModelError` where the student is no image tower for it.
    """
    config, state, _ = read_clip(clip, checkpoint)
    _check_fits(student, config, clip)
    vit: Any = student.vit
    kept = {
        name: value
        for name, value in state.items()
        if isinstance(value, Tensor) and not name.startswith("visual.") and name not in OPENAI_ENTRIES
    }
    weights = kept | {f"visual.trunk.{name}": value for name, value in vit.state_dict().items()}
    height, width = student.image_size
    vision = {
        "image_size": height if height == width else [height, width],
        "timm_model_name": f"local-dir:{folder}",
        "timm_pool": vit.global_pool,
        "timm_proj": "",  # the head of timm's network is the projection
    }
    described = {
        "model_cfg": {key: value for key, value in config.items() if value is not None}
        | {"vision_cfg": vision},
        "preprocess_cfg": {
            "size": vision["image_size"],
            "mean": student.mean.tolist(),
            "std": student.std.tolist(),
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }
    return {
        hub.CONFIG_FILE: hub.hub_files(student)[hub.CONFIG_FILE],
        WEIGHTS_FILE: safetensors.torch.save(
            {name: value.detach().contiguous() for name, value in weights.items()}, {"format": "pt"}
        ),
        CONFIG_FILE: json.dumps(described, indent=2).encode(),
    }


class OpenClip:
    """What open_clip itself makes of such a folder."""

    def __init__(self, folder: Path) -> None:
        name = f"local-dir:{folder}"
        self._clip: Any = open_clip.create_model(name).eval()
        self._tokenizer = open_clip.get_tokenizer(name)
        self._cfg: Mapping[str, Any] = open_clip.get_model_preprocess_cfg(self._clip)

    @torch.no_grad()
    def images(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Of RGB images in [0, 1], of the size that it is for."""
        mean, std = (torch.tensor(self._cfg[name])[:, None, None] for name in ("mean", "std"))
        features: Tensor = self._clip.encode_image((pixels - mean) / std)
        return features

    @torch.no_grad()
    def texts(self, texts: list[str]) -> Float[Tensor, "n C"]:
        """Of unit length."""
        features: Tensor = self._clip.encode_text(self._tokenizer(texts), normalize=True)
        return features


def _check_fits(student: Backbone, config: Mapping[str, Any], clip: str) -> None:
    if not (student.projects and student.has_class_token and student.out_dim == config["embed_dim"]):
        width = student.out_dim if student.projects else "no projection"
        raise ModelError(
            f"The student is no image tower for {clip}",
            expected=f"a class token, and its projection to {config['embed_dim']} channels",
            found=f"{width}, and {'a' if student.has_class_token else 'no'} class token",
            remedy="give the CLIP that its teacher was by --clip",
        )
