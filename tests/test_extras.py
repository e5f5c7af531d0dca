"""phreg as it is installed without its extras: what needs none works, the rest says what to install.

`tests/infra/test_wheel.py` does the same in an environment that truly has none of them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phreg.errors import ConfigError
from phreg.extras import require, to_install
from tests.helpers import jpeg_bytes, make_image
from tests.small_run import write_config

ABSENT = "import sys; sys.modules.update(dict.fromkeys(('ray', 'prefect', 's3fs'))); "
COMMAND = ABSENT + "from phreg.cli import main; sys.exit(main(sys.argv[1:]))"


def _phreg(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_model_is_denoised_and_inspected(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    (tmp_path / "cat.jpg").write_bytes(jpeg_bytes(make_image()))
    code = (
        "import phreg, torch; teacher = phreg.load_backbone(sys.argv[1]); "
        "images = torch.zeros(1, 3, *teacher.image_size); "
        "views = phreg.sample_views(teacher.grid_size, 2); "
        "print(list(phreg.denoise(teacher, images, views).shape), phreg.open_cache('cache').specs())"
    )
    model = f"local-dir:{tmp_path / 'teacher'}"
    done = subprocess.run([sys.executable, "-c", ABSENT + code, model], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[1, ")
    done = _phreg("inspect", model, tmp_path / "cat.jpg", "--figure", tmp_path / "dirty.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dirty.png").exists()
    assert _phreg("plan", config).returncode == 0


@pytest.mark.parametrize("command", ["run", "table", "demo"])
def test_a_run_says_what_to_install(command: str, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    table = tmp_path / "table.yaml"
    table.write_text(
        "name: t\nrun: run.yaml\nteacher_rows: [{name: teacher, read_out: standard}]\nlabel_free: true\n"
    )
    arguments = {"run": [config], "table": [table], "demo": ["--output", tmp_path / "demo"]}[command]
    done = _phreg(command, *arguments)
    assert done.returncode == 2
    assert f"error: phreg {command} needs Ray and Prefect" in done.stderr
    assert 'what to do: pip install "phreg[ray,prefect]"' in done.stderr
    assert not (tmp_path / "demo").exists()


def test_the_doctor_finds_nothing_wrong() -> None:
    done = _phreg("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'pip install "phreg[ray]"' in done.stdout
    assert 'pip install "phreg[prefect]"' in done.stdout


def test_an_s3_url_names_the_extra() -> None:
    done = _phreg("cache", "list", "s3://bucket/cache")
    assert done.returncode != 0
    assert 'pip install "phreg[s3]"' in done.stderr


@pytest.mark.parametrize("module", ["phreg.execution.pool", "flows.run"])
def test_the_modules_themselves_say_so(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", ABSENT + f"import {module}"], capture_output=True, text=True)
    assert "phreg.errors.ConfigError" in done.stderr
    assert "pip install" in done.stderr


def test_all_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    require("it", "ray", "prefect")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"it needs Ray\n.*not installed\n.*phreg.ray."):
        require("it", "ray", "prefect")
    assert to_install("s3fs", "gcsfs") == 'pip install "phreg[s3]" gcsfs'
