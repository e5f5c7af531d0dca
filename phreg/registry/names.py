"""Names that become parts of a path: checked, so that none leaves the registry."""

import re
from pathlib import PurePosixPath

from phreg.errors import RegistryError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def check_model(name: str) -> str:
    """A model's name, fit for a folder. Raises `RegistryError`."""
    if not _NAME.fullmatch(name):
        raise RegistryError(
            f"The model name {name[:120]!r} cannot be used",
            expected="up to 100 letters, digits, '.', '_' or '-', a letter or digit first",
        )
    return name


def check_alias(name: str) -> str:
    """An alias: a name that cannot be mistaken for a version. Raises `RegistryError`."""
    if not _NAME.fullmatch(name) or name.isdigit():
        raise RegistryError(
            f"The alias {name[:120]!r} cannot be used",
            expected="up to 100 letters, digits, '.', '_' or '-', not only digits, for instance 'champion'",
        )
    return name


def check_file(path: str) -> str:
    """A file's path within an entry. Raises `RegistryError`."""
    plain = bool(path) and PurePosixPath(path).as_posix() == path
    if not plain or "\\" in path or not all(_NAME.fullmatch(part) for part in path.split("/")):
        raise RegistryError(
            f"The file name {path[:120]!r} cannot be used in a registry entry",
            expected="a relative path of plain names, for instance 'figures/curve.png'",
        )
    return path


def as_version(text: str | int) -> int | None:
    """The version number that a text means, or None if it can only be an alias."""
    return int(text) if _VERSION.fullmatch(str(text)) else None
