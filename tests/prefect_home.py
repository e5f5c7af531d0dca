"""Homes of Prefect whose database is set up: that takes some seconds of CPU, of which a test needs none."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def prefect_home(folder: Path) -> str:
    """A new home in a folder, for PREFECT_HOME; its database is a copy of one that Prefect made."""
    home = folder / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / DATABASE).exists():
        shutil.copy(Path(_first().name) / DATABASE, home / DATABASE)
    return str(home)


DATABASE = "prefect.db"


@functools.cache
def _first() -> "tempfile.TemporaryDirectory[str]":
    home = tempfile.TemporaryDirectory(prefix="prefect-")
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, env=os.environ | {"PREFECT_HOME": home.name}, check=True, capture_output=True)
    return home
