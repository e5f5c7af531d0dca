"""Sections of a config that have a denoiser, and what forms are told of its options."""

import copy
import functools
from collections.abc import Mapping
from typing import Any

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from phreg.config.denoisers import KNOWN, AnyDenoiser, DenoiserConfig, ViewsConfig, parse_denoiser
from phreg.config.model import ConfigModel


class DenoisedSection(ConfigModel):
    """A section whose denoiser's options stand among its own keys, as a user reads and writes them:
    `{method: views, views: 10, encoding: int8}`."""

    denoiser: AnyDenoiser = Field(ViewsConfig(), description="`method` and its options, which stand beside")

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or isinstance(data.get("denoiser"), DenoiserConfig):
            return data
        own = [name for name in cls.model_fields if name != "denoiser"]
        options = {key: value for key, value in data.items() if key not in own}
        if "method" not in options:
            options = {**cls.without_method(), **options}
        denoiser = parse_denoiser(options, own)
        return {key: value for key, value in data.items() if key in own} | {"denoiser": denoiser}

    @classmethod
    def without_method(cls) -> Mapping[str, Any]:
        """Options where the section names no method, before what it gives itself."""
        return {}

    @model_serializer(mode="wrap")
    def _flat(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return fields.pop("denoiser") | fields

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """As it is written: `method`, and the options of every one, beside its own keys."""
        reference = super().__get_pydantic_json_schema__(core_schema, handler)
        properties = handler.resolve_ref_schema(reference)["properties"]
        del properties["denoiser"]
        properties |= _options(nested=2)
        return reference


def _options(nested: int) -> dict[str, Any]:
    """JSON schemas of `method` and the options of every one. There are two that have a `then`, each once."""
    options: dict[str, Any] = {
        "method": {"enum": list(KNOWN), "default": "views", "description": "what cleans them"}
    }
    for option in dict.fromkeys(name for kind in KNOWN.values() for name in kind.model_fields):
        if option == "method" or (option == "then" and not nested):
            continue
        owners = {name: kind for name, kind in KNOWN.items() if option in kind.model_fields}
        kind = next(iter(owners.values()))
        if option == "then":
            then = {"type": "object", "properties": _options(nested - 1), "additionalProperties": False}
            schema: dict[str, Any] = {"anyOf": [{"enum": list(KNOWN)}, then]}
        else:
            schema = copy.deepcopy(_properties(kind)[option])
            schema.pop("default", None)  # of one of its methods; filled in, it would be misplaced in others
        said = kind.model_fields[option].description
        options[option] = schema | {"description": f"{said}; an option of {', '.join(owners)}"}
    return options


@functools.cache
def _properties(kind: Any) -> dict[str, Any]:
    """JSON schemas of its options. Each flow's form asks for them: 0.4 CPU seconds, if made each time."""
    properties: dict[str, Any] = TypeAdapter(kind).json_schema()["properties"]
    return properties
