"""Prefect for tests that are about other things: homes with a database that is set up, and a server.

Setting up a database takes six seconds of CPU, starting a server as many.
"""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from prefect.settings import PREFECT_HOME, temporary_settings

from flows.server import TemporaryServer

DATABASE = "prefect.db"


def prefect_home(folder: Path) -> str:
    """A new home in a folder, for PREFECT_HOME; its database is a copy of one that Prefect made."""
    home = folder / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / DATABASE).exists():
        shutil.copy(_first() / DATABASE, home / DATABASE)
    return str(home)


@functools.cache
def server_url() -> str:
    """Of a server that ends with this process, for PREFECT_API_URL."""
    server = TemporaryServer()
    with temporary_settings({PREFECT_HOME: prefect_home(_folder())}):
        server.start(timeout=240)
    return server.url


@functools.cache
def _first() -> Path:
    home = _folder()
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, env=os.environ | {"PREFECT_HOME": str(home)}, check=True, capture_output=True)
    return home


def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="prefect-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return Path(folder.name)
