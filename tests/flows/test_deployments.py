"""The deployments of prefect.yaml on a real Prefect server with a real worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from phreg.config import load_config
from phreg.registry import Registry
from phreg.storage import Folder
from tests.prefect_stack import Stack, prefect_stack
from tests.small_run import write_config

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


def test_sub_flows_run_alone_one_after_the_other(stack: Stack, tmp_path: Path) -> None:
    path = write_config(tmp_path)
    config = load_config(path)
    for name in ("phreg-targets/targets", "phreg-distil/distil", "phreg-evaluate/evaluate"):
        stack.command("deployment", "run", name, "--param", f"config={path}", "--watch")
    entries = Registry(Folder(config.registry_url)).entries("tiny")
    assert [entry.record.student for entry in entries] == ["one"]
    assert len(list(Path(config.cache_url).glob("*/shards/*.json"))) == 3
