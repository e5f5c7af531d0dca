"""Environments as `pip install` makes them, out of what is installed here: no download, in seconds.

A distribution is there if another one's metadata asks for it, and not else.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed(requirements: Iterable[str], extras: Iterable[str] = ()) -> dict[str, metadata.Distribution]:
    """The distributions that these requirements come to, with what those require, by name.

    `extras`: of the distribution whose requirements they are.
    """
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(line, tuple(extras)) for line in requirements]
    while waiting:
        line, of_extras = waiting.pop()
        requirement = Requirement(line)
        wanted = [{"extra": extra} for extra in ("", *of_extras)]
        if requirement.marker and not any(requirement.marker.evaluate(extra) for extra in wanted):
            continue
        name = canonicalize_name(requirement.name)
        found[name] = metadata.distribution(name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(line, (extra,)) for line in found[name].requires or ()]
    return found


def make_environment(folder: Path, distributions: Iterable[metadata.Distribution]) -> Path:
    """A virtual environment with these and no others; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    (site,) = (folder / "lib").glob("python*/site-packages")
    for distribution in distributions:
        for file in distribution.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:  # no scripts: they name our Python
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(Path(str(file.locate())), target)
    return python


def _link(source: Path, target: Path) -> None:
    with contextlib.suppress(FileExistsError, FileNotFoundError):  # shared by two; or removed since
        try:
            os.link(source, target)
        except OSError as error:
            if isinstance(error, FileExistsError | FileNotFoundError):
                raise
            shutil.copy2(source, target)  # on another disk


def pip(python: Path, *arguments: object) -> str:
    """Our pip at work in another environment. Raises `AssertionError` with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
