"""A run submitted as a job to a real Ray head on loopback, with its dashboard."""

import json
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray

from phreg.cli import main, submit
from phreg.cli.main import USAGE
from phreg.config.run import load_config, parse_config
from phreg.config.strict_yaml import parse_yaml
from phreg.execution import jobs
from phreg.execution.jobs import Jobs
from phreg.execution.metrics import METRICS
from tests.faults.clusters import loopback_cluster
from tests.prefect_homes import prefect_home
from tests.processes import Starter, starter
from tests.small_run import write_config

SECRET = "canary-secret"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The head of a cluster on whose nodes phreg is installed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    home = prefect_home(tmp_path_factory.mktemp("home"))
    environment = {"PATH": path, "PREFECT_HOME": home, "CANARY": SECRET}
    with loopback_cluster(2, environment, dashboard=True) as cluster:
        yield cluster.head_node


@pytest.fixture(scope="module")
def head(node: Any) -> str:
    """The URL of its dashboard."""
    return f"http://{node.webui_url}"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    with starter(tmp_path) as started:
        yield started


@pytest.mark.slow
def test_a_run_survives_the_one_who_submitted_it_and_is_found_again(
    head: str, node: Any, start: Starter, tmp_path: Path
) -> None:
    write_config(tmp_path)
    command = "submit", "run.yaml", "--address", head, "--set", "students.0.name=renamed"
    cut_off = start.phreg(*command)
    cut_off.says("Running entrypoint")
    cut_off.kill()
    again = start.phreg(*command, COLUMNS="70")
    seen: dict[str, tuple[str, ...]] = {}
    again.until(lambda: seen.update(metrics(node)) or seen.keys() == METRICS.keys())
    assert seen["phreg_images_done"] == ("tiny", "", "denoised")
    assert seen["phreg_training_loss"] == ("tiny", "renamed", "denoised")
    assert again.ends() == 0, again.tail
    assert "is at work already" in again.text
    assert again.text.count("Running entrypoint") == 1
    assert re.search(r"^(student +)?renamed", again.text, re.MULTILINE)  # the table
    assert (tmp_path / "run" / "registry" / "tiny" / "1" / "entry.json").exists()
    (job,) = shown(head)
    assert job["submission_id"] == re.search(r"phreg-tiny-[0-9a-f]{8}-1", again.text)[0]  # type: ignore[index]
    assert job["entrypoint"] == "phreg run tiny.yaml"
    assert SECRET not in json.dumps(job)
    assert "targets:tiny:denoised:1" in listed(head, "actors", "repr_name")
    assert "evaluate:tiny" in listed(head, "tasks", "name")
    assert "student:tiny:renamed:denoised" in listed(head, "actors", "repr_name")


@pytest.mark.slow
def test_the_exit_code_is_the_job_s(head: str) -> None:
    absent = "file:///nowhere/absent.yaml"
    client = Jobs(head)
    said: list[str] = []
    job, _ = client.submit("phreg-absent", ["phreg", "run", absent], {}, {})
    assert client.follow(job, said.append) == USAGE
    assert "Cannot read the config" in "".join(said)
    assert client.submit("phreg-absent", ["true"], {}, {}) == ("phreg-absent-2", False)  # none is at work
    job, found = client.submit("phreg-nothing", ["no-such-phreg", "run"], {}, {})
    assert not found
    with pytest.raises(jobs.ConfigError, match="does not know the command no-such-phreg"):
        client.follow(job, said.append)


def metrics(node: Any) -> dict[str, tuple[str, ...]]:
    """The names of ours that the node has now, each with the run, student and targets that it is of."""
    text = httpx.get(f"http://127.0.0.1:{node.metrics_export_port}/metrics", timeout=30).text
    ours = re.findall(r'^ray_(phreg_\w+)\{.*run="(.*?)",student="(.*?)",targets="(.*?)"', text, re.MULTILINE)
    return {name: tuple(tags) for name, *tags in ours}


def listed(head: str, what: str, field: str) -> set[str]:
    """A field of all actors or tasks that the cluster has had."""
    wanted = {"detail": True, "limit": 10_000}
    answer = httpx.get(f"{head}/api/v0/{what}", params=wanted, timeout=30).raise_for_status().json()
    return {each[field] for each in answer["data"]["result"]["result"]}


def shown(head: str) -> list[dict[str, object]]:
    """What the cluster shows of its jobs."""
    found: list[dict[str, object]] = httpx.get(f"{head}/api/jobs/", timeout=30).raise_for_status().json()
    return found


def test_what_is_sent_is_the_same_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    students = [
        {"name": "a", "targets": "denoised", "grid": {"registers": ["none", 4]}, "unlock": ["lora:4"]},
        {"name": "b", "targets": "mixed", "learning_rate": 1e-5},
    ]
    targets = {"denoised": {}, "mixed": {"method": "test_time_registers", "then": {"method": "views"}}}
    path = write_config(tmp_path, output="here", students=students, targets=targets)
    name, command, files = submit.job_of(str(path), ["seed=3"])
    assert (name, command) == ("tiny", ["phreg", "run", "tiny.yaml"])
    sent = parse_config(parse_yaml(files["tiny.yaml"], "what was sent"))
    assert sent == load_config(path, ["seed=3"])
    assert sent.output == str(tmp_path / "here")
    write_config(tmp_path, validation=f"s3://user:{SECRET}@host/x.tar")
    with pytest.raises(jobs.ConfigError, match="the environment of the cluster") as caught:
        submit.job_of(str(path), [])
    assert SECRET not in str(caught.value)


def test_a_config_at_a_url_is_left_to_the_job(tmp_path: Path) -> None:
    url = "s3://bucket/my runs/all photos.yaml"
    assert submit.job_of(url, ["seed=3"]) == ("all_photos", ["phreg", "run", url, "--set", "seed=3"], {})
    with pytest.raises(jobs.ConfigError, match="carries credentials"):
        submit.job_of("https://host/a.yaml?token=x", [])
    with pytest.raises(jobs.ConfigError, match="carries credentials"):
        submit.job_of(url, [f"output=s3://a:{SECRET}@host/x"])


@pytest.mark.parametrize("address", ["127.0.0.1:9", "http://127.0.0.1:9", f"http://me:{SECRET}@127.0.0.1:9"])
def test_an_address_without_a_cluster_is_named_without_its_secrets(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert main(["submit", str(write_config(tmp_path)), "--address", address]) == USAGE
    said = capsys.readouterr().err
    assert "No Ray cluster takes jobs at" in said
    assert "127.0.0.1:9" in said
    assert SECRET not in said


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ANSWER_S", 0.5)
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, pytest.raises(jobs.ConfigError, match="No Ray cluster"):
        Jobs(f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.fixture
def full_head() -> Iterator[str]:
    """The URL of one that answers, and takes no job."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {"ray_version": ray.__version__} if self.path == "/api/version" else [])

        def do_POST(self) -> None:
            self.answer(500, {"error": "no space left"})

        def answer(self, code: int, said: object) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_head_that_answers_and_takes_no_job_is_told_from_none(full_head: str) -> None:
    with pytest.raises(jobs.ClusterError, match="answers, but takes no job") as caught:
        Jobs(full_head).submit("phreg-tiny", ["true"], {}, {})
    assert "no space left" in caught.value.found


def test_a_log_that_cannot_be_written_is_no_silent_cluster(
    full_head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tail(self: Jobs, job: str, new: Callable[[str, int], None]) -> None:
        new("\N{BULLET} done", 0)

    tried: list[str] = []

    def write(text: str) -> None:
        assert not tried, "written again"
        tried.append(text)
        text.encode("ascii")

    monkeypatch.setattr(Jobs, "_tail", tail)
    with pytest.raises(UnicodeEncodeError):
        Jobs(full_head).follow("phreg-tiny-1", write)
