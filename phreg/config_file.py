"""Reading a config: YAML to plain data, overrides, and the check that names every field that is wrong."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from phreg.errors import ConfigError, StorageError
from phreg.section import Section
from phreg.storage import read_url

MAX_CONFIG_BYTES = 1 << 20
Checked = TypeVar("Checked", bound=Section)


def read_mapping(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """A YAML file as plain data, overrides applied, unchecked. Raises `ConfigError`."""
    try:
        raw = read_url(str(path))
    except StorageError as error:
        raise ConfigError(
            f"Cannot read the config {path}", found=error.problem, remedy=error.remedy
        ) from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(
            f"The config {path} is too large", f"at most {MAX_CONFIG_BYTES} bytes", f"{len(raw)}"
        )
    data = _parse_yaml(raw, f"the config {path}")
    if not isinstance(data, dict):
        raise ConfigError(f"The config {path} is not a mapping", "keys and values", type(data).__name__)
    apply_overrides(data, overrides)
    return data


def apply_overrides(data: dict[str, Any], overrides: Iterable[str]) -> None:
    """Change plain data in place: `a.b=value`, list items by index. Raises `ConfigError`."""
    for override in overrides:
        _apply_override(data, override)


def checked(section: type[Checked], data: dict[str, Any], source: str) -> Checked:
    """Plain data as a section of this type. Raises `ConfigError` with one line a wrong field."""
    try:
        return section.model_validate(data)
    except ValidationError as error:
        details = [detail for detail in error.errors() if not _follows(detail)]
        raise ConfigError(
            f"{source[0].upper()}{source[1:]} has {len(details)} mistake{'s' if len(details) > 1 else ''}",
            found="".join(f"\n    {_describe(detail)}" for detail in details),
            remedy="mend these fields; `phreg run --help` shows an example",
        ) from None


def _follows(detail: Any) -> bool:
    """Pydantic calls a list too short when its items have mistakes; those are named by themselves."""
    return detail["type"] == "too_short" and bool(detail["input"])


def _describe(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"]) or "config"
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    if detail["type"] == "missing":
        return f"{where}: missing"
    given = repr(detail.get("input"))
    shown = "" if detail["type"] == "value_error" else f" (given {given[:80]})"
    return f"{where}: {detail['msg'].removeprefix('Value error, ')}{shown}"


def _parse_yaml(raw: bytes | str, source: str) -> Any:
    try:
        return yaml.load(raw, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"Cannot parse {source} as YAML", found=str(error)[:500]) from None


def _apply_override(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"Cannot read the override {override!r}", expected="a.b=value")
    parts = path.split(".")
    node: Any = data
    try:
        for part in parts[:-1]:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        key: Any = int(parts[-1]) if isinstance(node, list) else parts[-1]
        node[key] = _parse_yaml(text, f"the override {override!r}")
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"The override {override!r} names no place in the config",
            expected="a path of keys, list items by index, for instance students.0.registers=4",
        ) from None


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (YAML would keep the last without a word)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, count in Counter(keys).items():
            if count > 1 and key != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)
