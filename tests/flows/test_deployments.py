"""The deployments of prefect.yaml on a real Prefect server with a real worker."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from phreg.config.run import load_config
from phreg.registry import Registry
from phreg.storage import Folder
from tests.prefect_stack import Stack, prefect_stack
from tests.small_run import make_config, write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with prefect_stack(tmp_path_factory.mktemp("prefect")) as started:
        yield started


def test_every_flow_is_deployed_with_an_example_schedule_that_is_off(stack: Stack) -> None:
    listed = stack.command("deployment", "ls")
    for name in ("phreg-run/run", "phreg-targets/targets", "phreg-distil/distil", "phreg-evaluate/evaluate"):
        assert name in listed
    inspected = stack.command("deployment", "inspect", "phreg-run/run")
    assert "0 2 * * *" in inspected
    assert "'active': False" in inspected
    stack.command("work-pool", "set-concurrency-limit", "phreg", "2")  # of all of them together


def test_sub_flows_run_alone_one_after_the_other(stack: Stack, tmp_path: Path) -> None:
    path = write_config(tmp_path)
    config = load_config(path)
    stack.command("deployment", "run", "phreg-targets/targets", "--param", f"config={path}", "--watch")
    settings = json.dumps({"settings": yaml.safe_load(path.read_text())})  # as a form has them
    stack.command("deployment", "run", "phreg-distil/distil", "--params", settings, "--watch")
    stack.command("deployment", "run", "phreg-evaluate/evaluate", "--param", f"config={path}", "--watch")
    names = {run["name"]: set(run["tags"]) for run in asked(stack, "flow_runs")}
    assert set(names) == {"tiny: 1 target", "tiny: 1 student", "tiny: evaluation of 1 student"}
    assert all(tags == {"phreg", "tiny"} for tags in names.values())
    progress = {artifact["key"]: artifact["data"] for artifact in asked(stack, "artifacts", "progress")}
    assert progress == {"tiny-targets-denoised-progress": 100.0, "tiny-one-progress": 100.0}
    entries = Registry(Folder(config.registry_url)).entries("tiny")
    assert [entry.record.student for entry in entries] == ["one"]
    assert len(list(Path(config.cache_url).glob("*/shards/*.json"))) == 3


def test_a_config_that_is_not_there_fails_the_run_in_a_few_words(stack: Stack, tmp_path: Path) -> None:
    run = stack.submit("phreg-run/run", tmp_path / "absent.yaml")
    assert stack.ended(run) == "FAILED"
    stack.worker.until(lambda: "absent.yaml" in said(stack, run))  # the log follows the state
    assert "Traceback" not in said(stack, run)


def test_what_is_wrong_is_refused_before_there_is_a_run(stack: Stack, tmp_path: Path) -> None:
    before = len(asked(stack, "flow_runs"))
    settings = json.dumps({"settings": make_config(tmp_path, max_quarantined=3)})
    command = [sys.executable, "-m", "prefect", "deployment", "run", "phreg-run/run", "--params", settings]
    refused = stack.start.start(command, COLUMNS="200")
    assert refused.ends() == 1, refused.tail
    assert "settings.max_quarantined" in refused.text
    assert "Traceback" not in refused.text
    secret = "s3://me:secret@host/x"
    for deployment, parameters in (
        ("phreg-run/run", {"settings": make_config(tmp_path, output=secret)}),
        ("phreg-distil/distil", {"config": f"{secret}.yaml"}),
        ("phreg-table/table", {"config": "a.yaml", "overrides": [f"run.output={secret}"]}),
    ):
        api = f"http://127.0.0.1:{stack.port}/api/deployments"
        found = httpx.get(f"{api}/name/{deployment}", timeout=10).raise_for_status().json()
        run = httpx.post(f"{api}/{found['id']}/create_flow_run", json={"parameters": parameters}, timeout=10)
        assert (run.status_code, "Validation failed" in run.text) == (409, True), run.text
    assert len(asked(stack, "flow_runs")) == before


def asked(stack: Stack, what: str, kind: str = "") -> list[dict[str, Any]]:
    """All of what Prefect's server has of a kind of things."""
    wanted = {"artifacts": {"type": {"any_": [kind]}}} if kind else {}
    answer = httpx.post(f"http://127.0.0.1:{stack.port}/api/{what}/filter", json=wanted, timeout=10)
    found: list[dict[str, Any]] = answer.raise_for_status().json()
    return found


def said(stack: Stack, flow_run: str) -> str:
    """The log of one run."""
    wanted = {"logs": {"flow_run_id": {"any_": [flow_run]}}}
    answer = httpx.post(f"http://127.0.0.1:{stack.port}/api/logs/filter", json=wanted, timeout=10)
    return "\n".join(log["message"] for log in answer.raise_for_status().json())
