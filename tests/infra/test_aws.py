"""The cluster on AWS, as Ray itself checks it; what it asks of EC2, as botocore does; and its commands."""

import re
import shlex
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.infra.entry_points import INFRA, check_command, documents

(CLUSTER,) = documents("ray-aws.yaml")
NODES: dict[str, dict[str, Any]] = CLUSTER["available_node_types"]


def test_it_fits_the_schema_of_ray() -> None:
    validate_config(prepare_config(CLUSTER))
    assert set(CLUSTER["available_node_types"]) == {"head", "gpu"}


@pytest.mark.parametrize("name", NODES)
def test_its_nodes_are_instances_that_ec2_knows(name: str) -> None:
    model = botocore.session.get_session().get_service_model("ec2")
    asked = NODES[name]["node_config"] | {"MinCount": 1, "MaxCount": 1}
    report = ParamValidator().validate(asked, model.operation_model("RunInstances").input_shape)
    assert not report.has_errors(), report.generate_report()
    assert "IamInstanceProfile" in asked  # else it would need keys for the store


def test_its_commands_are_those_of_the_image() -> None:
    for line in (*CLUSTER["head_start_ray_commands"], *CLUSTER["worker_start_ray_commands"]):
        check_command(shlex.split(line))
    (install,) = CLUSTER["head_setup_commands"]
    assert install.removeprefix("pip install ") in (INFRA / "requirements-dev.txt").read_text().splitlines()
    (login,) = CLUSTER["initialization_commands"]
    assert CLUSTER["docker"]["image"].startswith(login.rpartition(" ")[2] + "/phreg:")


def test_it_wants_the_token_that_it_is_given() -> None:
    assert "--env=RAY_AUTH_MODE=token" in CLUSTER["docker"]["run_options"]
    (place,) = CLUSTER["file_mounts"]
    assert place == "/home/phreg/.ray/auth_token"
    assert re.search(r"useradd --create-home --uid 1000 phreg\b", (INFRA / "Dockerfile").read_text())
