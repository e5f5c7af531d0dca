"""Clusters that want a token: a real head in a home of its own, joined and refused."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray

from phreg.errors import ConfigError
from phreg.execution.authentication import MODE, TOKEN, TOKEN_PATH, token_for
from phreg.execution.cluster import check_address, connect
from tests.faults.clusters import DRIVER
from tests.prefect_stack import free_port
from tests.processes import starter

SECRET, WRONG = "canary-" + "a" * 57, "canary-" + "b" * 57
JOIN = """
import sys, ray
from phreg.execution.cluster import connect
with connect(sys.argv[1]):
    print("nodes", len(ray.nodes()))
"""
RAY = [sys.executable, "-c", "import sys; from ray.scripts.scripts import main; sys.exit(main())"]


@dataclass(frozen=True)
class Head:
    address: str
    environment: Mapping[str, str]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """`ray start --head` where somebody's `ray.init` has left a token. Ray's sockets need a short path."""
    folder = tmp_path_factory.mktemp("head")
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as short:
        home = write_token(folder / "home", SECRET)
        environment = {**DRIVER, "HOME": str(home), "RAY_TMPDIR": short, "RAY_USAGE_STATS_ENABLED": "0"}
        environment["PREFECT_HOME"] = str(folder)
        with starter(folder / "log", **environment) as start:
            port = free_port()
            place = ["--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=1"]
            started = start.start([*RAY, "start", "--head", "--block", *place, "--include-dashboard=false"])
            started.says("--block")
            yield Head(f"127.0.0.1:{port}", environment)


def write_token(home: Path, token: str) -> Path:
    (home / ".ray").mkdir(parents=True)
    (home / ".ray/auth_token").write_text(token)
    return home


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token, and nothing of Ray's in the environment."""
    for name in (MODE, TOKEN, TOKEN_PATH, "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(
        "ray._private.ray_constants.ENABLE_RAY_CLUSTER", False
    )  # loopback is a node's address
    return tmp_path


def test_the_token_is_sent_as_ray_sends_it(head: Head) -> None:
    environment = os.environ | head.environment
    environment.pop(MODE, None)
    for more, address in (({}, "auto"), ({MODE: "token"}, head.address)):
        command = [sys.executable, "-c", JOIN, address]
        joined = subprocess.run(command, capture_output=True, text=True, env=environment | more)
        assert joined.stdout.split() == ["nodes", "1"], joined.stderr


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, "no token in any of these places, RAY_AUTH_MODE is not set"),
        ({MODE: "token"}, "no token in any of these places, RAY_AUTH_MODE is 'token'"),
        ({TOKEN: SECRET}, "no token was sent: RAY_AUTH_MODE is not set"),
        ({MODE: "disabled", TOKEN: SECRET}, "no token was sent: RAY_AUTH_MODE is 'disabled'"),
        ({MODE: "token", TOKEN: WRONG}, "a token in RAY_AUTH_TOKEN that is not the cluster's"),
    ],
)
def test_a_missing_or_wrong_token_is_told(
    head: Head, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], found: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="wants its token") as caught:
        check_address(head.address)
    assert caught.value.found == found
    for place in (MODE, TOKEN, TOKEN_PATH, "~/.ray/auth_token"):
        assert place in caught.value.expected
    assert "canary" not in str(caught.value)


def test_a_wrong_token_in_a_file_is_told_with_the_file(
    head: Head, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for `auto`, which sends a token wherever there is one."""
    write_token(elsewhere, WRONG)
    monkeypatch.setenv("RAY_TMPDIR", head.environment["RAY_TMPDIR"])
    with pytest.raises(ConfigError, match="wants its token") as caught, connect("auto"):
        pass
    assert caught.value.found == "a token in ~/.ray/auth_token that is not the cluster's"
    (elsewhere / "file").write_text(WRONG)
    monkeypatch.setenv(TOKEN_PATH, str(elsewhere / "file"))
    with (
        pytest.raises(ConfigError, match=f"{TOKEN_PATH}={elsewhere}/file that is not") as caught,
        connect("auto"),
    ):
        pass
    assert "canary" not in str(caught.value)


def test_a_token_file_that_is_not_there_is_told(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Ray itself is asked, which would end the process."""
    monkeypatch.setenv(TOKEN_PATH, str(elsewhere / "none"))
    with pytest.raises(ConfigError, match="token cannot be read") as caught, connect("local"):
        pass
    assert str(elsewhere / "none") in caught.value.found
    assert not ray.is_initialized()


def test_a_users_own_token_is_a_local_rays_too(elsewhere: Path) -> None:
    write_token(elsewhere, SECRET)
    with token_for("local"):
        assert TOKEN not in os.environ
