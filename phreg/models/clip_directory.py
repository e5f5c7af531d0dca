"""CLIPs in open_clip's own hub layout: `open_clip_config.json` and `open_clip_model.safetensors`.

Such a directory may come from anybody: the config is bounded and its keys are known ones before anything is
built from it, the weights are safetensors, and nothing in it names another file or a place to download from.
"""

import json
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar

import open_clip
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from timm.data import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from phreg.errors import CheckpointError, ModelError, ObjectNotFoundError
from phreg.models.weight_files import INDEX, read_first
from phreg.storage import Folder

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
_WEIGHTS = (WEIGHTS_FILE, f"{WEIGHTS_FILE}{INDEX}", "open_clip_pytorch_model.bin")
BUNDLED = "phreg/small-clip"
PREFIX = "open_clip-dir:"
MAX_CONFIG_BYTES = 1 << 20

_Count = Annotated[int, Field(ge=1, le=1 << 20)]
_Width = Annotated[int, Field(ge=1, le=1 << 14)]
_Layers = Annotated[int, Field(ge=1, le=256)]
_Pixels = Annotated[int, Field(ge=1, le=1 << 13)]
_Three = tuple[float, float, float]


def _keys(config_class: Any) -> frozenset[str]:
    return frozenset(field.name for field in fields(config_class))


class _Part(BaseModel):
    """Values that we use are checked here; others may be there if open_clip knows their keys."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    known: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _no_unknown_keys(self) -> "_Part":
        unknown = sorted((self.model_extra or {}).keys() - self.known)
        if unknown:
            raise ValueError(f"unknown key {unknown[0][:60]!r}")
        return self


class _Vision(_Part):
    known = _keys(open_clip.CLIPVisionCfg)
    image_size: _Pixels | tuple[_Pixels, _Pixels] = 224
    patch_size: _Pixels = 16
    width: _Width = 768
    layers: _Layers | tuple[_Layers, _Layers, _Layers, _Layers] = 12
    head_width: _Width = 64
    mlp_ratio: float = Field(4.0, gt=0, le=16)


class _Text(_Part):
    known = _keys(open_clip.CLIPTextCfg)
    context_length: int = Field(77, ge=1, le=1024)
    vocab_size: _Count = 49408
    width: _Width = 512
    heads: _Layers = 8
    layers: _Layers = 12
    mlp_ratio: float = Field(4.0, gt=0, le=16)


class _Model(_Part):
    known = frozenset({"init_logit_scale", "init_logit_bias", "nonscalar_logit_scale"})
    embed_dim: _Width
    vision_cfg: _Vision
    text_cfg: _Text
    quick_gelu: bool = False
    custom_text: bool = False


class _Preprocess(_Part):
    known = frozenset({"size", "mode", "interpolation", "resize_mode", "fill_color"})
    mean: _Three = OPENAI_CLIP_MEAN
    std: _Three = OPENAI_CLIP_STD


class _File(BaseModel):
    model_config = ConfigDict(frozen=True)  # other keys are no matter of ours

    model_cfg: _Model
    preprocess_cfg: _Preprocess = _Preprocess()


@dataclass(frozen=True)
class ClipDirectory:
    """A checked config (open_clip's `model_cfg`, as plain data), the images' mean and std, and the place."""

    folder: Folder
    config: dict[str, Any]
    mean: _Three
    std: _Three

    @property
    def source(self) -> str:
        return self.folder.url_of(WEIGHTS_FILE)

    def weights(self) -> dict[str, Any]:
        """The state dict, as stored. Raises `CheckpointError` if it is not plain tensors."""
        return read_first(_WEIGHTS, self._read, self.folder.url_of)

    def _read(self, name: str) -> bytes:
        data = self.folder.read(name)
        if name == WEIGHTS_FILE and data[8:9] != b"{":
            raise CheckpointError(f"{self.source} is no safetensors file", "safetensors", "something else")
        return data


def is_clip_directory(model: str) -> bool:
    """Whether a model's name is one of a directory in this layout."""
    return model == BUNDLED or model.startswith(PREFIX)


def read_clip_directory(model: str) -> ClipDirectory:
    """The directory that `open_clip-dir:PATH` (any fsspec URL) or `phreg/small-clip` names.

    Raises `ModelError` if it is not there, or its config cannot be used.
    """
    folder = Folder(str(_bundled_path()) if model == BUNDLED else model.removeprefix(PREFIX))
    try:
        raw = folder.read(CONFIG_FILE)
    except ObjectNotFoundError as error:
        raise ModelError(
            f"There is no CLIP in {folder.url}",
            expected=f"{CONFIG_FILE} and {WEIGHTS_FILE}, as open_clip's hub has them",
            found=error.problem,
            remedy="this installation of phreg came without its small CLIP; install it from a release"
            if model == BUNDLED
            else "check the path",
        ) from error
    checked = _parse(raw, folder.url_of(CONFIG_FILE))
    preprocess = checked.preprocess_cfg
    return ClipDirectory(folder, checked.model_cfg.model_dump(), preprocess.mean, preprocess.std)


def _bundled_path() -> Path:
    return Path(str(resources.files("phreg.models") / "small_clip"))


def _parse(raw: bytes, source: str) -> _File:
    if len(raw) > MAX_CONFIG_BYTES:
        raise ModelError(f"{source} is too large", f"at most {MAX_CONFIG_BYTES} bytes", str(len(raw)))
    try:
        return _File.model_validate(json.loads(raw))
    except ValidationError as error:
        first = error.errors()[0]
        found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        found = f"{type(error).__name__}: {str(error)[:200]}"
    raise ModelError(
        f"Cannot build the CLIP described by {source}",
        expected="open_clip's hub config: model_cfg with embed_dim, vision_cfg, text_cfg; preprocess_cfg",
        found=found,
    )
