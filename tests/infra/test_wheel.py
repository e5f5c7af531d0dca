"""The wheel, built and installed into environments that hold nothing but what it asks for."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.helpers import jpeg_bytes, make_image
from tests.infra.environments import make_environment, needed, pip
from tests.small_run import write_config

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DENOISE = """
import phreg, torch
teacher = phreg.load_backbone("phreg/small-clip", image_size=128, read_out="naclip")
images = torch.zeros(1, 3, 128, 128)
clean = phreg.denoise(teacher, images, phreg.sample_views(teacher.grid_size, 3))
assert clean.shape == (1, teacher.out_dim, *teacher.grid_size)
"""
SMALL_DEMO = """
from pathlib import Path
from phreg.demo import inputs, make_demo
inputs.SHARDS, inputs.SCENES_PER_SHARD, inputs.LABELLED = 2, 16, 8
config, _ = make_demo(Path("demo"))
text = config.read_text()
assert "epochs: 8" in text
config.write_text(text.replace("epochs: 8", "epochs: 1"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves folders behind."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("phreg", "flows", "tests", "infra", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", out]
    pip(Path(sys.executable), "wheel", *options, source)
    (built,) = out.iterdir()
    return built


def _installed(wheel: Path, folder: Path, extras: tuple[str, ...]) -> Path:
    """The Python of an environment with the wheel, and what it asks for with these extras."""
    (info,) = (item for item in zipfile.Path(wheel).iterdir() if item.name.endswith(".dist-info"))
    asked = metadata.PathDistribution(info).requires
    python = make_environment(folder, needed(asked or (), extras).values())
    pip(python, "install", "--no-deps", "--no-index", wheel)
    pip(python, "check")
    return python


def _run(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """In a folder far from the source, with no variable of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RAY_"))}
    home = {"HOME": str(folder), "PREFECT_HOME": str(folder / "prefect")}
    return subprocess.run([*map(str, command)], cwd=folder, env=kept | home, capture_output=True, text=True)


def test_it_holds_all_of_the_packages_and_nothing_else(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in inside} == {"phreg", "flows"}
    files = [path for name in ("phreg", "flows") for path in (ROOT / name).rglob("*") if path.is_file()]
    ours = {str(path.relative_to(ROOT)) for path in files if path.suffix not in (".pyc", ".md")}
    assert ours - inside == set()
    assert {"phreg/py.typed", "phreg/models/small_clip/open_clip_model.safetensors"} <= ours


def test_without_extras_a_model_is_denoised_and_inspected(wheel: Path, tmp_path: Path) -> None:
    python = _installed(wheel, tmp_path / "environment", ())
    phreg = python.with_name("phreg")
    absent = "import importlib.util as u; print([p for p in ('ray', 'prefect', 's3fs') if u.find_spec(p)])"
    assert _run(tmp_path, python, "-c", absent).stdout == "[]\n"
    assert _run(tmp_path, python, "-c", "import phreg; print(phreg.__file__)").stdout.startswith(
        str(tmp_path)
    )
    (tmp_path / "cat.jpg").write_bytes(jpeg_bytes(make_image()))
    commands = [(python, "-c", DENOISE), (phreg, "--help"), (phreg, "doctor"),
                (phreg, "inspect", "phreg/small-clip", "cat.jpg")]  # fmt: skip
    for command in commands:
        done = _run(tmp_path, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    done = _run(tmp_path, phreg, "run", write_config(tmp_path))
    assert done.returncode == 2
    assert 'pip install "phreg[ray,prefect]"' in done.stderr


@pytest.mark.timeout(1800)  # the whole demo: beside much other work ten minutes were too few
def test_with_its_extras_it_runs_the_demo(wheel: Path, tmp_path: Path) -> None:
    """The demo as it is, on fewer scenes, and for an epoch."""
    python = _installed(wheel, tmp_path / "environment", ("ray", "prefect"))
    for command in ((python, "-c", SMALL_DEMO), (python.with_name("phreg"), "demo", "--output", "demo")):
        done = _run(tmp_path, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "demo/registry/demo/1/report.html").exists()
    assert (tmp_path / "demo/tables/demo.csv").exists()
