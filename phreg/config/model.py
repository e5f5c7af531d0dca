"""The base of all config sections, and the types their fields share."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic_core import CoreSchema, PydanticCustomError

from phreg.config.secrets import refuse_secrets
from phreg.errors import hide_credentials
from phreg.storage.foreign import check_pattern, check_place

ReadOut = Literal["standard", "value", "csa", "naclip", "qq"]
Head = Literal["projection", "classifier"]
Resize = Literal["paper", "timm", "dinov2"]
Device = Literal["auto", "cpu", "cuda"]


def _plain(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise PydanticCustomError(
            "plain_name",
            "a name has letters, digits and any of . _ - (no spaces), 100 at most, no . _ - first",
        )
    return name


def _two_slashes(place: str) -> str:
    """`s3:/bucket/x` would be a local folder called `s3:`."""
    if found := re.match(r"([a-z0-9]{2,}):/([^/].*)", place):
        scheme, rest = found.groups()
        slashes = ":///" if scheme in ("file", "local", "memory") else "://"
        raise ValueError(f"a URL has two slashes after its colon: did you mean {scheme}{slashes}{rest}?")
    return place


def _one(place: str) -> str:
    check_place(place)
    return place


def _one_pattern(pattern: str) -> str:
    check_pattern(pattern)
    return pattern


def known_device(device: Any) -> Any:
    """For a config's field and a command's option."""
    if isinstance(device, str) and device not in get_args(Device):
        raise ValueError(
            f"expected `auto`, `cpu` or `cuda`, found {hide_credentials(device)[:100]!r}: `cuda` is any GPU "
            "of NVIDIA or AMD, `auto` one if there is one; CUDA_VISIBLE_DEVICES says which"
        )
    return device


def model_folder(model: str) -> str | None:
    """The path of a model that is a folder; None for one that has a name."""
    form, colon, path = model.partition(":")
    return path if colon and form in ("local-dir", "open_clip-dir") else None


DeviceName = Annotated[Device, BeforeValidator(known_device)]
Name = Annotated[str, AfterValidator(_plain)]
Address = Annotated[
    str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")
]
"""Of a server."""
PathOrUrl = Annotated[Address, AfterValidator(_one), AfterValidator(_two_slashes)]
"""A path, a URL, or a model's name."""
Pattern = Annotated[Address, AfterValidator(_one_pattern), AfterValidator(_two_slashes)]
"""Paths or URLs of shards: one, a brace range or a glob."""
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


def also(*others: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """For a field's `json_schema_extra`: other ways in which it may be written."""

    def extend(schema: dict[str, Any]) -> None:
        as_is = {
            key: schema.pop(key) for key in list(schema) if key not in ("title", "description", "default")
        }
        schema["anyOf"] = [*others, *as_is.get("anyOf", [as_is])]

    return extend


class ConfigModel(BaseModel):
    """Base of all sections: frozen, unknown keys refused, NaN and Inf refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Without credentials: forms are parameters. (A config's URLs may have them.)"""
        reference = handler(core_schema)
        refuse_secrets(handler.resolve_ref_schema(reference))
        return reference
