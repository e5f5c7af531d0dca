"""`config.json` of timm's hub layout, checked: it may come from anybody, and timm would follow it far.

Left to itself, timm takes names of other hubs and folders as architectures, and paths of checkpoints as
arguments; and a number in it may ask for more memory than there is.
"""

import inspect
import json
from typing import Annotated, Any

import timm
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from torch.nn import Module

from phreg.config.model import PositiveFloat, Resize
from phreg.errors import ModelError
from phreg.models.families import FAMILIES, check_class

MAX_CONFIG_BYTES = 1 << 20
MAX_BLOCKS = 256
MAX_PARAMETERS_BESIDE = 50_000_000  # more than the weights have: positions for another size, a head
_ARGUMENTS = frozenset(
    name for family in FAMILIES for name in inspect.signature(family.kind.__init__).parameters
) - {"self", "kwargs"}
_Number = Annotated[int, Field(ge=0, le=1 << 16)]
_Side = Annotated[int, Field(ge=1, le=1 << 12)]
_Argument = bool | _Number | Annotated[float, Field(ge=-1e6, le=1e6)] | str | None | tuple[_Number, ...]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="allow", allow_inf_nan=False
    )  # other keys are no matter of ours


class _Pretrained(_Part):
    mean: tuple[float, float, float] | None = None
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    tag: str | None = None
    num_classes: _Number | None = None


class _Own(_Part):
    read_out: str = "standard"
    pos_embed_resize: Resize = "paper"
    connector_grid: tuple[_Side, _Side] | None = None


class HubConfig(_Part):
    """What we take from the file. `pretrained_cfg` is given to timm's model as it is written."""

    architecture: str
    num_classes: _Number | None = None
    model_args: dict[str, _Argument] = Field(default_factory=dict)
    pretrained_cfg: _Pretrained
    phreg: _Own = _Own()

    @model_validator(mode="before")
    @classmethod
    def _one_dict(cls, value: Any) -> Any:
        """timm's older layout: what is now `pretrained_cfg` beside the architecture."""
        if isinstance(value, dict) and "pretrained_cfg" not in value:
            return value | {"pretrained_cfg": {key: value[key] for key in value.keys() - {"architecture"}}}
        return value

    @property
    def is_ours(self) -> bool:
        """Whether phreg wrote it: then the linear head of a CLIP-like ViT is its projection."""
        return "phreg" in self.model_fields_set

    @property
    def tag(self) -> str:
        """Of timm's weights, such as `openai_ft_in1k`; empty if the file does not say."""
        return self.pretrained_cfg.tag or ""

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        if ":" in value or "/" in value or not timm.is_model(value):
            raise ValueError("timm has no architecture of this name")
        return value

    @field_validator("model_args")
    @classmethod
    def _of_a_vit(cls, value: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(value.keys() - _ARGUMENTS)
        if unknown:
            raise ValueError(f"a ViT has no argument {unknown[0][:60]!r}")
        depth = value.get("depth")
        if depth is not None and (type(depth) is not int or not 1 <= depth <= MAX_BLOCKS):
            raise ValueError(f"a depth of {depth} blocks, not 1 to {MAX_BLOCKS}")
        return value

    def build(self) -> Any:
        """The network, with random weights. Raises whatever timm does, and `ModelError` for no plain ViT."""
        # dynamic_img_size only changes how timm's own forward resamples; ours does that itself.
        arguments: dict[str, Any] = {
            key: value for key, value in self.model_args.items() if key != "dynamic_img_size"
        }
        classes = self.pretrained_cfg.num_classes if self.num_classes is None else self.num_classes
        if classes is not None:  # 0: a network without a head, also where its architecture has one
            arguments.setdefault("num_classes", classes)
        vit: Any = timm.create_model(self.architecture, pretrained=False, **arguments)
        check_class(vit, self.architecture)
        described: Any = vit
        described.pretrained_cfg = self.pretrained_cfg.model_dump() | {"architecture": self.architecture}
        return vit


def build_vit(config: HubConfig, source: str, outline: Module, parameters: int) -> Any:
    """The network that a config describes, if so many weights can fill its outline. Raises `ModelError`."""
    if found := too_large(outline, parameters):
        raise _unusable(source, found)
    return _built(config, source, "cpu")


def outline_of(config: HubConfig, source: str) -> Module:
    """The network on `meta`: nothing large is made before it is seen not to be. Raises `ModelError`."""
    return _built(config, source, "meta")


def too_large(outline: Module, parameters: int) -> str:
    """What is said of a network, given on `meta`, that so many weights cannot fill; empty if they can."""
    described = sum(parameter.numel() for parameter in outline.parameters())
    if described <= 2 * parameters + MAX_PARAMETERS_BESIDE:
        return ""
    return f"a network of {described} parameters; the weights have {parameters}"


def _built(config: HubConfig, source: str, device: str) -> Any:
    try:
        with torch.device(device):
            return config.build()
    except Exception as error:  # timm's constructors raise nearly anything
        raise _unusable(source, f"{type(error).__name__}: {str(error)[:400]}") from None


def parse_hub_config(raw: bytes, source: str) -> HubConfig:
    """The checked config of a ViT; whether it can be built is not yet known. Raises `ModelError`."""
    if len(raw) > MAX_CONFIG_BYTES:
        raise _unusable(source, f"{len(raw)} bytes, more than {MAX_CONFIG_BYTES}")
    try:
        config = HubConfig.model_validate(json.loads(raw))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part)[:60] for part in first["loc"])
        found = f"{place}: {first['msg'].removeprefix('Value error, ')}"
    except (ValueError, RecursionError) as error:
        found = f"{type(error).__name__}: {str(error)[:200]}"
    else:
        return config
    raise _unusable(source, found)


def _unusable(source: str, found: str) -> ModelError:
    return ModelError(
        f"Cannot build the model described by {source}",
        expected="timm's hub layout of a plain ViT: architecture, model_args, pretrained_cfg",
        found=found,
    )
