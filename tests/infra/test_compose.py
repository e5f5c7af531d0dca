"""The composition on one machine: its commands are ours, and nobody outside the machine reaches it."""

import re
from typing import Any

import pytest

from tests.infra.entry_points import INFRA, check_command, documents

(COMPOSE,) = documents("compose.yaml")
(CUDA,) = documents("compose.cuda.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_what_there_is_and_waits_for_what_there_is(name: str) -> None:
    service = SERVICES[name]
    check_command(service["command"])
    kind, *health = service.get("healthcheck", {}).get("test", ["CMD", "mc"])
    assert kind == "CMD"
    check_command(health)
    for other, wanted in service.get("depends_on", {}).items():
        if wanted["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], other
        else:
            assert SERVICES[other]["restart"] == "no", other
    for volume in service.get("volumes", ()):
        assert volume.partition(":")[0] in COMPOSE["volumes"]
    for shared in ("network_mode", "pid"):  # Ray looks for its node's processes
        assert service.get(shared, "service:ray-head").removeprefix("service:") in SERVICES


def test_the_worker_is_as_if_on_the_machine_of_the_head() -> None:
    worker, head = SERVICES["prefect-worker"], SERVICES["ray-head"]
    assert worker["network_mode"] == worker["pid"] == "service:ray-head"
    assert "ray:/tmp/ray" in worker["volumes"]
    assert "ray:/tmp/ray" in head["volumes"]
    assert worker["environment"]["RAY_ADDRESS"] == "auto"


def test_prefect_s_pages_find_their_api_and_it_has_no_secrets() -> None:
    server, deployments = (SERVICES[name]["environment"] for name in ("prefect-server", "deployments"))
    assert server["PREFECT_UI_API_URL"].startswith(f"http://{SERVICES['prefect-server']['ports'][0][:14]}")
    assert server.keys() | deployments.keys() == {"PREFECT_HOME", "PREFECT_UI_API_URL", "PREFECT_API_URL"}


def test_ports_are_open_on_loopback_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_credentials_come_from_the_environment_and_must_be_there() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if re.search("KEY|TOKEN|PASSWORD|USER", name):
                assert re.fullmatch(r"\$\{\w+:\?\}", value), name
            assert service["environment"].get("RAY_AUTH_MODE", "token") == "token"


def test_the_image_is_built_with_arguments_that_it_has() -> None:
    dockerfile = (INFRA / "Dockerfile").read_text()
    arguments = COMPOSE["x-phreg"]["build"]["args"]
    for name, value in arguments.items():
        assert re.search(rf"^ARG {name}=(.+)$", dockerfile, re.MULTILINE)[1] in value  # type: ignore[index]
    assert set(CUDA["services"]) <= set(SERVICES)
