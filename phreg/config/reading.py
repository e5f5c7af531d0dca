"""Reading a config: YAML to plain data, overrides, and the check that names every field that is wrong."""

import difflib
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import ValidationError

from phreg.config.denoisers import MISPLACED
from phreg.config.model import ConfigModel
from phreg.config.secrets import SECRET
from phreg.config.strict_yaml import parse_yaml
from phreg.errors import ConfigError, StorageError, hide_credentials
from phreg.storage import open_url

MAX_CONFIG_BYTES = 1 << 20
MISTAKES_SHOWN = 20
Checked = TypeVar("Checked", bound=ConfigModel)


def read_mapping(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """A YAML file as plain data, overrides applied, unchecked. Raises `ConfigError`."""
    check_no_secrets(str(path))
    try:
        with open_url(str(path)) as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except StorageError as error:
        raise ConfigError(
            f"Cannot read the config {path}", error.expected, error.found, error.remedy
        ) from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"The config {path} is too large", f"at most {MAX_CONFIG_BYTES} bytes", "more")
    data = parse_yaml(raw, f"the config {path}")
    if not isinstance(data, dict):
        found = "an empty file" if data is None else type(data).__name__
        raise ConfigError(f"The config {path} is not a mapping", "keys and values", found)
    apply_overrides(data, overrides)
    return data


def apply_overrides(data: dict[str, Any], overrides: Iterable[str]) -> None:
    """Change plain data in place: `a.b=value`, list items by index. Raises `ConfigError`."""
    for override in overrides:
        check_no_secrets("", [override])
        _apply_override(data, override)


def check_no_secrets(
    text: str,
    overrides: Iterable[str] = (),
    what: str = "The config's URL",
    kept: str = "it is stored and shown as a parameter of the run",
    remedy: str = "give credentials in the environment; a URL that must carry them belongs in the config",
) -> None:
    """Raise `ConfigError` if a config's URL, another text or an override carries credentials: as parameters
    of a Prefect flow, or of a Ray job, they would stand in a database, and on pages."""
    named = {what: text} | {f"The override {_REPR.repr(override)}": override for override in overrides}
    for name, part in named.items():
        if re.search(SECRET, part):
            raise ConfigError(f"{name} carries credentials", f"none: {kept}", remedy=remedy)


def checked(section: type[Checked], data: dict[str, Any], source: str, command: str = "run") -> Checked:
    """Plain data as a section of this type. Raises `ConfigError` with one line a wrong field.

    `command` is the one whose help shows an example.
    """
    try:
        return section.model_validate(data)
    except ValidationError as error:
        details = [detail for detail in error.errors() if not _follows(detail)]
        lines = [_describe(detail, section) for detail in details[:MISTAKES_SHOWN]]
        lines += [f"and {len(details) - MISTAKES_SHOWN} more"] if len(details) > MISTAKES_SHOWN else []
        raise ConfigError(
            f"{source[0].upper()}{source[1:]} has {len(details)} mistake{'s' if len(details) > 1 else ''}",
            found="".join(f"\n    {line}" for line in lines),
            remedy=f"mend these fields; `phreg {command} --help` shows an example",
        ) from None


def _follows(detail: Any) -> bool:
    """Pydantic calls a list too short when its items have mistakes; those are named by themselves."""
    return detail["type"] == "too_short" and bool(detail["input"])


def _describe(detail: Any, section: type[ConfigModel]) -> str:
    where = ".".join(_shown(part) for part in detail["loc"]) or "config"
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key{_known(section, detail['loc'])}"
    if detail["type"] == "missing":
        return f"{where}: missing"
    given = _REPR.repr(detail.get("input"))
    shown = "" if detail["type"] in ("value_error", MISPLACED) else f" (given {given[:80]})"
    return f"{where}: {detail['msg'].removeprefix('Value error, ')}{shown}"


def _known(kind: Any, where: tuple[int | str, ...]) -> str:
    """What may have been meant by the last key of a place below a section, or what there is."""
    for part in where[:-1]:
        if get_origin(kind) is None and part in kind.model_fields:
            kind = kind.model_fields[str(part)].annotation
        else:  # an item of a tuple, or a value of a mapping
            kind = next((item for item in get_args(kind) if hasattr(item, "model_fields")), kind)
    names = list(getattr(kind, "model_fields", ()))
    near = difflib.get_close_matches(str(where[-1])[:100], names, 1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(names)}" if names else ""


def _shown(part: object) -> str:
    """A key as it was written, if it is short and plain."""
    text = str(part)
    return text if text.isprintable() and len(text) <= 100 else _REPR.repr(text)


class _Brief(reprlib.Repr):
    """Never the whole of what was given, and of a URL no password: not even half of one."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(hide_credentials(x), level)


_REPR = _Brief()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 3, 80, 80


def _apply_override(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"Cannot read the override {_REPR.repr(override)}", expected="a.b=value")
    parts = path.split(".")
    node: Any = data
    try:
        for part in parts[:-1]:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        key: Any = int(parts[-1]) if isinstance(node, list) else parts[-1]
        node[key] = parse_yaml(text, f"the override {_REPR.repr(override)}")
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"The override {_REPR.repr(override)} names no place in the config",
            expected="a path of keys, list items by index, for instance students.0.registers=4",
        ) from None
