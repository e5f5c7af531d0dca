"""The Ray cluster for Kubernetes fits what is installed here."""

from importlib import metadata
from pathlib import Path

import yaml

CLUSTER = yaml.safe_load((Path(__file__).resolve().parents[2] / "infra/ray-cluster.yaml").read_text())


def test_its_ray_is_ours() -> None:
    assert CLUSTER["spec"]["rayVersion"] == metadata.version("ray")


def test_it_wants_a_token() -> None:
    """Else anybody in the cluster's network could run code on it."""
    assert CLUSTER["spec"]["authOptions"] == {"mode": "token"}
