"""A hook of mkdocs: the pages that are written from the code, so that they cannot disagree with it."""

import argparse
import inspect
import os
import types
import typing
from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import phreg
from phreg.cli.main import build_parser
from phreg.config.denoised_section import DenoisedSection
from phreg.config.denoisers import KNOWN
from phreg.config.run import RunConfig
from phreg.config.table import TableConfig

WIDTH = "78"  # of the help, in characters


def on_files(files: Files, config: MkDocsConfig) -> Files:
    pages = {"config": _config_page(), "cli": _cli_page(), "python": _python_page()}
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def _config_page() -> str:
    lines = [
        "# Config",
        "",
        "A config is a YAML file. Unknown keys are refused, and so is what is out of range, before anything "
        "starts. `--set a.b=c` overrides a value, list items by index: `--set students.0.registers=4`.",
    ]
    for model in _sections(RunConfig, TableConfig, *KNOWN.values()):
        lines += ["", f"## {model.__name__}", "", inspect.cleandoc(model.__doc__ or ""), ""]
        if issubclass(model, DenoisedSection):
            kinds = ", ".join(f"[`{name}`](#{kind.__name__.lower()})" for name, kind in KNOWN.items())
            lines += [f"Beside these, `method` ({kinds}), and that method's own fields.", ""]
        lines += ["| field | values | default | what it is |", "| --- | --- | --- | --- |"]
        lines += [_row(name, field) for name, field in model.model_fields.items() if name != "denoiser"]
    return "\n".join(lines) + "\n"


def _sections(*starts: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Each section once, those that it has after it."""
    seen: list[type[BaseModel]] = []
    waiting = list(reversed(starts))
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.append(model)
        yield model
        inner = [m for field in model.model_fields.values() for m in _models(field.annotation)]
        waiting += reversed(inner)


def _models(kind: object) -> Iterator[type[BaseModel]]:
    abstract = getattr(kind, "__abstractmethods__", None)
    if isinstance(kind, type) and issubclass(kind, BaseModel) and not abstract:
        yield kind
    for part in typing.get_args(kind):
        yield from _models(part)


def _row(name: str, field: FieldInfo) -> str:
    cells = (f"`{name}`", _kind(field.annotation), _default(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value in (None, (), ""):
        return ""
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, tuple):
        return "<br>".join(f"`{_plain(item)}`" for item in value)
    return f"`{value}`"


def _plain(value: object) -> object:
    return value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value


def _kind(kind: object) -> str:
    """A type as a user of YAML would say it."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _kind(parts[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(part) for part in parts if part is not type(None))
    if origin is tuple:
        return f"list of {_kind(parts[0])}"
    if origin is dict:
        return f"names to {_kind(parts[1])}"
    shown = next(_models(kind), None) if isinstance(kind, type) else None
    if shown is not None:
        return f"[{shown.__name__}](#{shown.__name__.lower()})"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(kind, "")


def _cli_page() -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH  # of the help; whoever builds the site goes on with its own
    codes = "0 done; 1 it ran, but something failed; 2 nothing was started; 130 interrupted."
    lines = ["# Command line", "", f"Exit codes: {codes}"]
    for name, parser in _commands(build_parser(), "phreg"):
        lines += ["", f"## {name}", "", "```text", parser.format_help().strip(), "```"]
    del os.environ["COLUMNS"]
    if before is not None:
        os.environ["COLUMNS"] = before
    return "\n".join(lines) + "\n"


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for group in groups:
        for word, inner in group.choices.items():
            yield from _commands(inner, f"{name} {word}")


def _python_page() -> str:
    lines = [
        "# Python",
        "",
        "`import phreg` imports nothing heavy; names are loaded when they are first used.",
    ]
    for name in phreg.__all__:
        lines += ["", f"::: {getattr(phreg, name).__module__}.{name}"]
    return "\n".join(lines) + "\n"
