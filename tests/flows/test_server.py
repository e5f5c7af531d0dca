"""Prefect's temporary server where it cannot work: one error that names what is wrong, and no traceback."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.server import TemporaryServer, ensure_server
from phreg.errors import ConfigError, PhregError

NO_HOME = """
import os, pwd, sys
from phreg.cli import main

def unknown(_):
    raise KeyError("uid not found")

os.environ.pop("HOME", None)
pwd.getpwuid = unknown
sys.exit(main(["run", sys.argv[1]]))
"""


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/phreg", "/sys/phreg"])
def test_a_home_that_cannot_be_written_is_told_before_the_server_is_started(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(TemporaryServer, "_launch", None)  # nothing is started
    with (
        temporary_settings({PREFECT_HOME: tmp_path / place, PREFECT_API_URL: None}),
        pytest.raises(ConfigError, match="set PREFECT_HOME") as caught,
    ):
        ensure_server()
    assert str(tmp_path / place) in caught.value.problem


def test_a_server_that_ends_with_an_error_is_started_once_more(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real one, whose database is none."""
    (tmp_path / "prefect.db").write_bytes(b"no database" * 1000)
    starts = []
    launch = TemporaryServer._launch
    monkeypatch.setattr(
        TemporaryServer, "_launch", lambda *given: starts.append(time.monotonic()) or launch(*given)
    )
    server = TemporaryServer()
    with temporary_settings({PREFECT_HOME: tmp_path, PREFECT_API_URL: None}):
        server.begin()  # waits for nothing
        assert len(starts) == 1
        with pytest.raises(PhregError, match="file is not a database") as caught:
            server.start(timeout=240)
    assert len(starts) == 2
    assert str(tmp_path) in caught.value.remedy
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_user_without_a_home_is_told_how_to_go_on(tmp_path: Path) -> None:
    """As in a container that runs under a number which /etc/passwd does not have."""
    from tests.small_run import write_config

    config = write_config(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", NO_HOME, str(config)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert "set HOME to a folder that can be written" in done.stderr
    assert "Traceback" not in done.stderr
