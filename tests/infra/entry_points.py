"""Commands that images and manifests name, held against the programs' own parsers: nothing is started."""

import importlib.util
import shlex
import warnings
from pathlib import Path
from typing import Any

import yaml
from prefect.cli._app import _app as prefect

from phreg.cli.main import build_parser

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of Ray Serve's, which comes along
    from ray.scripts.scripts import cli as ray

INFRA = Path(__file__).resolve().parents[2] / "infra"
ELSEWHERE = {"mc", "server", "redis-server", "redis-cli"}  # of the images of others


def documents(*path: str) -> list[dict[str, Any]]:
    """All of a YAML file under infra/."""
    return list(yaml.safe_load_all(INFRA.joinpath(*path).read_text()))


def check_command(command: list[str]) -> None:
    """Raises if there is no such command in our image, or it takes no such arguments."""
    program, *rest = command
    if program in ("sh", "bash"):
        assert rest[0] == "-c"
        for line in rest[1].split("&&"):
            check_command(shlex.split(line.strip().removeprefix("exec ")))
    elif program == "python":
        assert rest[0] in ("-c", "-m")
        if rest[0] == "-c":
            compile(rest[1], "command", "exec")
        else:
            assert importlib.util.find_spec(rest[1])
    elif program == "phreg":
        build_parser().parse_args(rest)
    elif program == "prefect":
        prefect.parse_args(rest, print_error=False, exit_on_error=False)
    elif program == "ray":
        ray.commands[rest[0]].make_context(rest[0], list(rest[1:]))
    elif program == "wget":
        assert "wget" in (INFRA / "Dockerfile").read_text()
    else:
        assert program in ELSEWHERE, command
