"""A real Prefect server on loopback with a real worker, and the deployments of prefect.yaml."""

import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from flows import parent_death
from tests.processes import Started, Starter, starter

REPOSITORY = Path(__file__).resolve().parents[1]
BOUND = [sys.executable, "-P", parent_death.__file__, "prefect"]  # they end with the tests, however these end
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass
class Stack:
    """Server and worker, each of which may be killed and started again."""

    start: Starter
    port: int
    server: Started
    worker: Started

    def start_server(self) -> None:
        self.server = _start_server(self.start, self.port)

    def start_worker(self) -> None:
        self.worker = _start_worker(self.start)

    def command(self, *arguments: str) -> str:
        """What `prefect ...` prints."""
        command = [sys.executable, "-m", "prefect", *arguments]
        done = self.start.start(command, cwd=REPOSITORY, COLUMNS="200")
        assert done.ends(400) == 0, done.tail
        return done.text

    def submit(self, deployment: str, config: Path, *overrides: str) -> str:
        """Run a deployment; the id of the flow run."""
        parameters = ["--param", f"config={config}", "--param", f"overrides={json.dumps(overrides)}"]
        said = self.command("deployment", "run", deployment, *parameters)
        found = re.search(r"UUID: (\S+)", said)
        assert found, said
        return found[1]

    def state(self, flow_run: str) -> str:
        """Its type, such as RUNNING; empty while the server does not answer."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/api/flow_runs/{flow_run}", timeout=10)
        except httpx.HTTPError:
            return ""
        return str(answer.raise_for_status().json()["state_type"])

    def ended(self, flow_run: str, seconds: float = 400) -> str:
        """The state in which it ended."""
        deadline = time.monotonic() + seconds
        while (state := self.state(flow_run)) not in FINAL:
            assert time.monotonic() < deadline, f"{state} after {seconds:g} s: {self.worker.tail}"
            time.sleep(0.5)
        return state


@contextmanager
def prefect_stack(folder: Path, **environment: str) -> Iterator[Stack]:
    """Started, with the deployments made. The environment is the worker's, and so that of its flow runs."""
    port = free_port()
    settings = {
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PHREG_HOME": str(REPOSITORY),
    }
    with starter(folder, **settings, **environment) as start:
        server = _start_server(start, port)
        stack = Stack(start, port, server, server)
        stack.command("work-pool", "create", "phreg", "--type", "process")
        stack.command("--no-prompt", "deploy", "--all")
        stack.start_worker()
        yield stack


def _start_server(start: Starter, port: int) -> Started:
    place = ["--host", "127.0.0.1", "--port", str(port)]
    server = start.start([*BOUND, "server", "start", *place])
    server.until(lambda: _answers(port))
    return server


def _start_worker(start: Starter) -> Started:
    return start.start([*BOUND, "worker", "start", "--pool", "phreg"])


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
