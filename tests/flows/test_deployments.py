"""The deployments of prefect.yaml on a real Prefect server with a real worker."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from phreg.config import load_config
from phreg.registry import Registry
from phreg.storage import Folder
from tests.small_run import write_config

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]
PREFECT = [sys.executable, "-m", "prefect"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a server on loopback with a process worker, the deployments made."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PHREG_HOME": str(REPOSITORY),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    log = (home / "log").open("w")
    server = subprocess.Popen(
        [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    worker = None
    try:
        wait_for(f"http://127.0.0.1:{port}/api/health")
        run(environment, "work-pool", "create", "phreg", "--type", "process")
        run(environment, "--no-prompt", "deploy", "--all")
        worker = subprocess.Popen(
            [*PREFECT, "worker", "start", "--pool", "phreg"], env=environment, stdout=log, stderr=log
        )
        yield environment
    finally:
        for process in (worker, server):
            if process is not None:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """A worker may wait long for what it started; that is Prefect's, and not what is tested here."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [*PREFECT, *arguments], env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=400,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_every_flow_is_deployed_with_an_example_schedule_that_is_off(prefect: dict[str, str]) -> None:
    listed = run(prefect | {"COLUMNS": "200"}, "deployment", "ls")
    for name in ("phreg-run/run", "phreg-targets/targets", "phreg-distil/distil", "phreg-evaluate/evaluate"):
        assert name in listed
    inspected = run(prefect | {"COLUMNS": "200"}, "deployment", "inspect", "phreg-run/run")
    assert "0 2 * * *" in inspected
    assert "'active': False" in inspected


def test_sub_flows_run_alone_one_after_the_other(prefect: dict[str, str], tmp_path: Path) -> None:
    path = write_config(tmp_path)
    config = load_config(path)
    for name in ("phreg-targets/targets", "phreg-distil/distil", "phreg-evaluate/evaluate"):
        run(prefect, "deployment", "run", name, "--param", f"config={path}", "--watch")
    entries = Registry(Folder(config.registry_url)).entries("tiny")
    assert [entry.record.student for entry in entries] == ["one"]
    assert len(list(Path(config.cache_url).glob("*/shards/*.json"))) == 3
