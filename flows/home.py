"""Prefect's folder (PREFECT_HOME, by default ~/.prefect): can its temporary server keep its database there?

Imports nothing of Prefect, which ends in a traceback where there is no home folder at all.
"""

import tempfile
from pathlib import Path

from phreg.errors import ConfigError


def check_user_has_home() -> None:
    """Raise `ConfigError` where it is unknown, as of a container's user that has a number only."""
    try:
        Path.home()
    except RuntimeError:
        raise ConfigError(
            "This user has no home folder, and Prefect cannot do without one",
            expected="HOME, or an entry for the user in /etc/passwd",
            found="neither",
            remedy="set HOME to a folder that can be written, for instance HOME=/tmp/phreg",
        ) from None


def check_can_be_written(home: Path) -> None:
    """Make the folder if need be. Raises `ConfigError` if nothing can be written there."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"x")
    except OSError as error:
        raise ConfigError(
            f"Prefect's temporary server cannot write to {home}",
            expected="a folder for its database",
            found=error.strerror or type(error).__name__,
            remedy="set PREFECT_HOME to a folder that can be written, such as PREFECT_HOME=/tmp/prefect; or "
            "name a running server in PREFECT_API_URL",
        ) from error
