"""The image holds what the deployments name."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_every_config_and_entrypoint_of_a_deployment_is_copied() -> None:
    lines = re.findall(r"^COPY (.+) \S+$", (ROOT / "infra" / "Dockerfile").read_text(), re.MULTILINE)
    copied = [Path(source) for line in lines for source in line.split()]
    assert all((ROOT / source).exists() for source in copied)
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        for name in (deployment["parameters"]["config"], deployment["entrypoint"].partition(":")[0]):
            assert (ROOT / name).is_file(), name
            assert any(Path(name).is_relative_to(source) for source in copied), name
