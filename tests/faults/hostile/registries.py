"""Registries edited by hand: what was altered is named, and nothing outside is read."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phreg.registry import Registry
from phreg.storage import Folder
from phreg.storage.checksummed import to_checksummed_json
from tests.faults.hostile.case import Case
from tests.registry.examples import register

Edit = Callable[[Path], None]
Use = Callable[[Registry], str]


def show(model: str = "demo", version: str = "1") -> Use:
    """As `phreg registry show` reads a version: record and all files."""

    def use(registry: Registry) -> str:
        entry = registry.entry(model, version)
        entry.verify()
        return f"version {entry.version} of {entry.model}"

    return use


def _make(edit: Edit, use: Use, folder: Path) -> Callable[[], str]:
    registry = Registry(Folder(str(folder / "registry")))
    for digest in ("d1", "d2"):
        register(registry, digest=digest)
    registry.promote("demo", 1, "champion", "by hand")
    edit(folder / "registry" / "demo")
    return lambda: use(registry)


def entry_with(change: Callable[[dict[str, Any]], Any], sealed: bool = False) -> Edit:
    """`entry.json` changed; with `sealed`, by someone who made its digest right again."""

    def edit(model: Path) -> None:
        path = model / "1" / "entry.json"
        fields = json.loads(path.read_bytes())
        own = fields.pop("digest")
        changed = fields | change(fields)
        made = _resealed(changed) if sealed else json.dumps(changed | {"digest": own}).encode()
        path.write_bytes(made)

    return edit


def _resealed(fields: dict[str, Any]) -> bytes:
    from phreg.fingerprint import canonical_json, digest_json

    return canonical_json(fields | {"digest": digest_json(fields)})


def written(name: str, data: bytes) -> Edit:
    return lambda model: (model / name).write_bytes(data) and None


def alias_of(**changes: Any) -> Edit:
    """Both the promotion and its copy rewritten, with right checksums."""

    def edit(model: Path) -> None:
        for path in [model / "promotions" / "champion" / "1.json", model / "aliases" / "champion.json"]:
            fields = json.loads(path.read_bytes())
            fields.pop("checksum")
            path.write_bytes(to_checksummed_json(fields | changes))

    return edit


def linked(target: str) -> Edit:
    def edit(model: Path) -> None:
        shutil.rmtree(model / "1")
        (model / "1").symlink_to(target)

    return edit


def nothing(model: Path) -> None:
    pass


FILE = {"model.safetensors": [7, "0" * 64]}
_MADE: dict[str, tuple[Edit, Use, str]] = {
    "a metric improved": (entry_with(lambda f: {"metrics": {"outlier_rate": 0.0}}), show(), "altered"),
    "a record of half its bytes": (written("1/entry.json", b'{"model":"demo"'), show(), "Cannot read"),
    "an empty record": (written("1/entry.json", b""), show(), "Cannot read"),
    "a record of 100 000 brackets": (written("1/entry.json", b"[" * 100_000), show(), "Cannot read"),
    "a record with one key more": (entry_with(lambda f: {"evil": 1}, True), show(), "Cannot read"),
    "a NaN in a record": (entry_with(lambda f: {"metrics": {"a": float("nan")}}), show(), "Cannot read"),
    "a record of another version": (entry_with(lambda f: {"version": 2}, True), show(), "wrong folder"),
    "a record of another model": (entry_with(lambda f: {"model": "other"}, True), show(), "wrong folder"),
    "a record of a later format": (entry_with(lambda f: {"format_version": 2}, True), show(), "format"),
    "a record that names /etc/passwd": (
        entry_with(lambda f: {"files": {"../../../../etc/passwd": [1, "0" * 64]}}, True), show(), "passwd"),
    "a record with another digest": (entry_with(lambda f: {"files": FILE}, True), show(), "not what was"),
    "weights replaced": (written("1/model.safetensors", b"evil!!!"), show(), "not what was registered"),
    "weights removed": (lambda model: (model / "1" / "model.safetensors").unlink(), show(), "no such object"),
    "a card rewritten": (written("1/README.md", b"# better"), show(), "README.md is not what was registered"),
    "an alias of no version": (alias_of(version=99), show(version="champion"), "no complete version 99"),
    "an alias of version -1": (alias_of(version=-1), show(version="champion"), "version"),
    "an alias of a path": (alias_of(version="../../other"), show(version="champion"), "Cannot read"),
    "an alias rewritten, checksums wrong": (
        lambda model: [written(name, b'{"alias": "champion", "version": 2}')(model) for name in (
            "promotions/champion/1.json", "aliases/champion.json")] and None,
        show(version="champion"), "Cannot read"),
    "an alias that was never given": (nothing, show(version="best"), "no alias 'best'"),
    "a model's name with slashes": (nothing, show("../../etc"), "cannot be used"),
    "a model's name of dots": (nothing, show(".."), "cannot be used"),
    "a version of a path": (nothing, show(version="../2"), "cannot be used"),
    "a version linked to a folder outside": (linked("/etc"), show(), "no complete version"),
    "a version linked to another": (linked("2"), show(), "wrong folder"),
}  # fmt: skip
CASES = (
    *(
        Case("registry", name, functools.partial(_make, edit, use), "RegistryError", says)
        for name, (edit, use, says) in _MADE.items()
    ),
    Case(
        "registry",
        "a version linked to itself",
        functools.partial(_make, linked("1"), show()),
        "PermanentStorageError",
        "symbolic links",
    ),
)
