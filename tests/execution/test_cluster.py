"""Connecting to Ray: a local one, an existing one, and addresses where there is none."""

import os
import socket
import subprocess
import sys
import time

import pytest
import ray

from phreg.errors import ConfigError
from phreg.execution.cluster import check_address, check_room, connect
from phreg.execution.remote import run_remote


def test_a_local_ray_lives_as_long_as_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """One start for several properties: it takes seconds."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PHREG_TEST_VARIABLE", "passed on")
    with connect():
        assert ray.is_initialized()
        (node,) = ray.nodes()
        assert node["NodeManagerAddress"].startswith("127.")
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        with connect("10.0.0.1:1"):  # connected already: no address is looked at
            assert ray.nodes()[0]["NodeID"] == node["NodeID"]
        assert ray.is_initialized()

        assert run_remote(os.environ.get, "PHREG_TEST_VARIABLE") == "passed on"
        address = ray.get_runtime_context().gcs_address
        check_address(address)  # a real cluster passes
        joined = (
            "import ray; from phreg.execution.cluster import connect\n"
            f"with connect({address!r}): print(ray.nodes()[0]['NodeID'])"
        )
        other = subprocess.run([sys.executable, "-c", joined], capture_output=True, text=True)
        assert other.stdout.strip() == node["NodeID"], other.stderr

        check_room({"CPU": 1}, "a small thing")
        with pytest.raises(ConfigError, match=r"1e\+06 CPU, 1 GPU"):
            check_room({"CPU": 1e6, "GPU": 1}, "a large thing")
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("127.0.0.1:9", "refused"),
        ("no-such-host.invalid:6379", ""),
        ("no port", "Invalid address"),
        ("host:port", "ValueError"),
    ],
)
def test_a_wrong_address_is_an_error_that_names_it(address: str, found: str) -> None:
    with pytest.raises(ConfigError, match=f"no Ray cluster at {address}") as caught, connect(address):
        pass
    assert found in str(caught.value)
    assert not ray.is_initialized()


def test_an_address_from_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9"), connect():
        pass


def test_a_client_address_is_refused_without_its_secrets() -> None:
    with pytest.raises(ConfigError, match="ray job submit") as caught, connect("ray://user:secret@host:1"):
        pass
    assert "secret" not in str(caught.value)


def test_something_that_is_not_ray_is_given_up_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phreg.execution.cluster.PROBE_TIMEOUT_S", 2.0)
    monkeypatch.setattr("phreg.execution.cluster._resolve", lambda address: address)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(ConfigError, match="did not answer"):
            check_address(f"127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - start < 60  # where ray.init would wait for minutes
