"""Where a local Ray lives, and a real one in odd surroundings."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from phreg.errors import ConfigError
from phreg.execution.ray_folder import LONGEST, ray_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS goes by no TMPDIR")

CHILD = """
import os, ray
from phreg.execution.cluster import connect
from phreg.execution.remote import run_remote

with connect():
    print(run_remote(os.getcwd))
    print(ray._private.worker.global_worker.node.get_temp_dir_path())
    print(ray.get_runtime_context().runtime_env)
"""
# Python takes its second argument for a script, so that a process called `uv run` can be had without uv.
UV = "import subprocess, sys; sys.exit(subprocess.run([sys.argv[1], 'child.py']).returncode)"


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
        monkeypatch.delenv(name, raising=False)


def long_folder(parent: Path, size: int) -> Path:
    """A folder whose path has so many bytes."""
    return parent / ("t" * (size - len(os.fsencode(parent)) - 1))


def test_it_is_where_ray_puts_it_if_that_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        for name in ("TMPDIR", "RAY_TMPDIR"):
            monkeypatch.setenv(name, short)
            assert ray_folder() == f"{short}/ray"
            monkeypatch.delenv(name)


@pytest.mark.parametrize("what", ["long", "not a folder"])
def test_a_tmpdir_that_will_not_do_is_passed_by(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    place = long_folder(tmp_path, 104) if what == "long" else tmp_path / "file"
    monkeypatch.setenv("TMPDIR", str(place))
    assert ray_folder() in ("/tmp/ray", f"/tmp/ray-{os.getuid()}")


@pytest.mark.parametrize("what", ["long", "not a folder"])
def test_a_ray_tmpdir_that_will_not_do_is_an_error(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    place = long_folder(tmp_path, 104) if what == "long" else tmp_path / "file"
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    with pytest.raises(ConfigError, match=f"at most {LONGEST} bytes") as caught:
        ray_folder()
    assert str(place) in caught.value.found


def start(folder: Path, **environment: str) -> list[str]:
    """What a local Ray says that is started below `uv run` in a folder."""
    (folder / "child.py").write_text(CHILD)
    (folder / "run").write_text(UV)
    (folder / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    done = subprocess.run(
        ["uv", "run", sys.executable], executable=sys.executable, cwd=folder, capture_output=True, text=True,
        env=os.environ | environment, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def test_a_long_tmpdir_and_uv_run(tmp_path: Path) -> None:
    """A real Ray: it starts, workers are where the driver is, and nothing is packed for them."""
    place = long_folder(tmp_path, 104)
    place.mkdir()
    cwd, folder, environment = start(tmp_path, TMPDIR=str(place))
    assert cwd == str(tmp_path)
    assert len(folder) < 20
    assert environment == "{}"


@pytest.mark.slow
def test_the_longest_ray_tmpdir(tmp_path: Path) -> None:
    """What the error allows works in truth, whatever the number of the process."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="phreg-", ignore_cleanup_errors=True) as parent:
        place = long_folder(Path(parent), LONGEST)
        _, folder, _ = start(tmp_path, RAY_TMPDIR=str(place))
        assert folder == f"{place}/ray"
