"""Where a local Ray keeps its sockets and log files: a folder with a short name that can be written.

The path of a Unix socket has 107 bytes at most (103 on macOS), and Ray's own part of it takes 64 of them.
Ray goes by RAY_TMPDIR and TMPDIR, and fails where they are longer, as batch systems' often are.
"""

import os
import sys
import tempfile

from ray._common.utils import get_default_ray_temp_dir

from phreg.errors import ConfigError

SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
_WITHIN = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"  # Ray's longest
LONGEST = SOCKET_BYTES - len(_WITHIN) - len("/ray")  # bytes of RAY_TMPDIR


def ray_folder() -> str:
    """Where Ray would be by itself, if it can; else a place of the system's.

    Raises `ConfigError` if the user named another in RAY_TMPDIR, or none will do.
    """
    first = os.path.abspath(get_default_ray_temp_dir())
    wrong = {first: _unfit(first)}
    if not wrong[first]:
        return first
    if not os.environ.get("RAY_TMPDIR"):
        own = f"ray-{os.getuid()}"
        for place in ("/tmp/ray", f"/tmp/{own}", f"/var/tmp/{own}"):  # noqa: S108 (Ray's own place)
            wrong[place] = _unfit(place)
            if not wrong[place]:
                return place
    raise ConfigError(
        "A local Ray has no folder for its sockets and log files",
        expected=f"a folder that can be written, its path at most {LONGEST} bytes long",
        found="; ".join(f"{place}: {reason}" for place, reason in wrong.items()),
        remedy="name one in RAY_TMPDIR, for instance RAY_TMPDIR=/tmp",
    )


def _unfit(folder: str) -> str:
    """What speaks against a folder; nothing if it will do."""
    size = len(os.fsencode(folder)) - len("/ray")
    if size > LONGEST:
        return f"{size} bytes"
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__
