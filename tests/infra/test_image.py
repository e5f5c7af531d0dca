"""The image holds what the deployments name, and its build sees nothing else of the checkout."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "infra" / "Dockerfile").read_text()
BUILD, IMAGE = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]


def copied(stage: str) -> set[Path]:
    lines = re.findall(r"^COPY ((?!--).+) \S+$", stage, re.MULTILINE)
    return {Path(source) for line in lines for source in line.split()}


def test_what_is_copied_is_there_and_not_ignored() -> None:
    sources = copied(BUILD) | copied(IMAGE)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {Path(line[1:]) for line in lines if line.startswith("!")}
    assert "*" in lines
    assert lines[-1] == "**/.env"  # which compose reads from infra/
    assert all((ROOT / source).exists() for source in sources)
    assert all(any(source.is_relative_to(kept) for kept in sent) for source in sources)
    assert sent <= sources


def test_every_config_and_entrypoint_of_a_deployment_is_in_the_image() -> None:
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        for name in (deployment["parameters"]["config"], deployment["entrypoint"].partition(":")[0]):
            assert (ROOT / name).is_file(), name
            assert any(Path(name).is_relative_to(source) for source in copied(IMAGE)), name


@pytest.mark.parametrize(("device", "index"), [("cpu", "whl/cpu"), ("cu126", "whl/cu126"), ("cuda", None)])
def test_torch_is_the_build_for_the_device(device: str, index: str | None, tmp_path: Path) -> None:
    """The build's own command, with a pip that says what it is asked."""
    (command,) = re.findall(r"^RUN (grep .*?[^\\])$", BUILD, re.MULTILINE | re.DOTALL)
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/requirements.txt").write_bytes((ROOT / "infra/requirements.txt").read_bytes())
    (tmp_path / "pip").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "pip").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DEVICE": device}
    run = subprocess.run(
        ["sh", "-ec", command], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    *torch, rest = run.stdout.splitlines()
    assert rest.endswith("-r infra/requirements.txt")
    assert [line.rpartition("pytorch.org/")[2] for line in torch] == ([index] if index else [])
    assert re.fullmatch(r"torch==\S+\ntorchvision==\S+\n", (tmp_path / "torch.txt").read_text())
