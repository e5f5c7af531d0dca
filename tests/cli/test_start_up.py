"""What the command line imports before there is work to do, told by the modules of a fresh process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "open_clip",
    "ray",
    "prefect",
    "zarr",
    "s3fs",
    "matplotlib",
    "webdataset",
)
SCRIPT = """
import json, sys
from phreg.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as done:
    code = done.code
print("\\n" + json.dumps([code, sorted(sys.modules)]))
"""


def _run(*arguments: str) -> tuple[int, set[str]]:
    """Exit code, and the heavy packages that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(HEAVY) & set(modules)


@pytest.mark.parametrize("arguments", ["--help", "--version", "run --help", "inspect --help", "world --help"])
def test_help_and_version_import_nothing_heavy(arguments: str) -> None:
    assert _run(*arguments.split()) == (0, set())


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "frobnicate",
        "run",
        "run --no-such-option",
        "inspect timm/vit cat.jpg --figure figure.foo",
        "pack no-such-folder out",
        "cache verify a --samples 3",
        *(f"{command} no-such.yaml" for command in ("run", "plan", "table")),
    ],
)
def test_shell_errors_import_nothing_heavy(arguments: str) -> None:
    assert _run(*arguments.split()) == (2, set())


@pytest.mark.parametrize("command", ["run", "plan", "table"])
@pytest.mark.parametrize("text", ["name: [", "name: 3", "colour: red", "- 1", "", "name: a\nname: b"])
def test_mistakes_in_a_config_import_nothing_heavy(command: str, text: str, tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(text)
    assert _run(command, str(config)) == (2, set())
