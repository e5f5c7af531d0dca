"""Connecting to Ray: a local one, an existing one, and addresses where there is none."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path

import pytest
import ray

from phreg.errors import ConfigError
from phreg.execution.cluster import _without_traceback, check_address, connect
from phreg.execution.remote import run_remote


def _listening() -> set[str]:
    """Addresses at which what this process has started listens for TCP."""
    psutil = pytest.importorskip("psutil")  # Ray brings it, and only makes it importable
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found |= {
                it.laddr.ip.removeprefix("::ffff:")
                for it in process.net_connections("tcp")
                if it.status == psutil.CONN_LISTEN
            }
    return found


def test_a_local_ray_lives_as_long_as_its_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One start for several properties: it takes seconds."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PHREG_TEST_VARIABLE", "passed on")
    with connect():
        assert ray.is_initialized()
        listening = _listening()
        assert listening
        assert all(ip_address(address.removeprefix("::ffff:")).is_loopback for address in listening), (
            listening
        )
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
        # A loopback address is one of a cluster only to a process told so, as Ray's own are.
        told = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        other = subprocess.run([sys.executable, "-c", joined], capture_output=True, text=True, env=told)
        assert other.stdout.strip() == node["NodeID"], other.stderr
        assert os.environ["RAY_AUTH_MODE"] == "token"  # from others on this machine it is safe
    assert not ray.is_initialized()
    assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & set(os.environ)
    assert not (tmp_path / ".ray").exists()  # a token left there, a later `ray start --head` would want


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
    with pytest.raises(ConfigError, match="phreg submit") as caught, connect("ray://user:secret@host:1"):
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


def test_of_a_traceback_that_ray_quotes_the_last_line_is_told() -> None:
    quoted = "Traceback (most recent call last):\n  File x\n    y\nRpcError: timed out\n"
    assert (
        _without_traceback(f"Failed to start GCS. Last error: {quoted}")
        == "Failed to start GCS. Last error: RpcError: timed out"
    )
    assert _without_traceback("no room\nleft") == "no room left"


@pytest.mark.slow
def test_the_next_local_ray_has_a_progress_actor_of_its_own() -> None:
    """In a process of its own: Ray ends the one that uses the handle of an actor of an earlier Ray."""
    code = (
        "from phreg.execution.cluster import connect\n"
        "from phreg.execution.progress_actor import ProgressChannel\n"
        "from phreg.progress import Progress\n"
        "for number in (1, 2):\n"
        "    with connect('local'):\n"
        "        channel = ProgressChannel()\n"
        "        channel.sender(Progress('counting', number, 2, final=True))\n"
        "        print(channel.last().done, flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "1\n2\n", done.stderr
