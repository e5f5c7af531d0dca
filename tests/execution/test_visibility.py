"""Nodes that see other disks than the driver: the check alone, then real nodes with mounts of their own."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from phreg.errors import AccessDeniedError, ConfigError
from phreg.execution import visibility
from phreg.execution.node_look import look_function
from phreg.execution.remote import run_remote
from phreg.execution.visibility import NOTHING, Answer, Claim, RunPaths, claimed, naming_the_node
from tests.faults.clusters import DRIVER, driver_of, loopback_cluster
from tests.faults.generation import actors, generate, small_shards
from tests.generate.worlds import make_world
from tests.processes import Started, Starter, starter

ONE = [{"CPU": 1.0}]
NODE = """
import signal, sys
from ray._private.node import Node
from ray._private.parameter import RayParams
place = dict(gcs_address=sys.argv[1], node_manager_port=0, object_store_memory=100 << 20)
Node(RayParams(num_cpus=1, **place), head=False, shutdown_at_exit=True, spawn_reaper=True)
signal.pause()
"""


def look(claim: Claim) -> dict[str, str]:
    return look_function()(claim.token, claim.written, claim.read, claim.reply("node"), 0.0)


def test_only_local_places_count(tmp_path: Path) -> None:
    paths = RunPaths.of(
        ["s3://bucket/run", str(tmp_path), "memory://x"], [None, f"file://{tmp_path}/a.tar", "b.tar"]
    )
    assert paths == RunPaths((str(tmp_path),), (f"{tmp_path}/a.tar", os.path.abspath("b.tar")))
    assert RunPaths.of(["s3://bucket/run"], ["https://host/a.tar", "filecache::s3://bucket/b.tar"]) == NOTHING


def test_what_a_node_does_not_see_is_found(tmp_path: Path) -> None:
    good, empty, absent, file = (tmp_path / name for name in ("good", "empty", "absent", "file"))
    good.mkdir(), empty.mkdir(), file.touch()
    (good / "token").write_text("token")
    (good / "a.tar").touch()
    read = {str(good): ("a.tar", "b.tar", "c.tar"), str(absent): ("x",)}
    assert look(Claim("token", (str(good),), {str(good): ("a.tar",)})) == {}
    assert (good / "token-node").read_text() == "token"
    assert look(Claim("token", tuple(map(str, (empty, absent, file))), read)) == {
        str(good): "it lacks b.tar and 1 more",
        str(empty): "what the driver wrote there is not seen",
        str(absent): "no such folder",
        str(file): "Not a directory",
    }


def test_an_answer_that_does_not_arrive_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node saw the driver's token, but writes somewhere else: an overlay, for instance."""
    monkeypatch.setattr(visibility, "PATIENCE_S", 0.0)
    monkeypatch.setattr(visibility, "_run_on", lambda *arguments: None)
    monkeypatch.setattr(ray, "wait", lambda *arguments, **named: None)
    claim = Claim("token", (str(tmp_path),), {})
    with pytest.raises(ConfigError, match=rf"{tmp_path} on the node far: what it writes there is not seen"):
        claim.take(Answer("node", "far", {}))
    (tmp_path / "token-node").write_text("token")
    claim.take(Answer("node", "far", {}))
    assert list(tmp_path.iterdir()) == []


def test_what_a_store_refuses_is_told_with_the_node() -> None:
    with pytest.raises(AccessDeniedError, match="denied \\(on the node ") as caught, naming_the_node():
        raise AccessDeniedError("Cannot read s3://b/a", "permission", "denied", "ask")
    assert caught.value.remedy == "ask"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("mount namespaces need root")
    with starter(tmp_path / "logs", PREFECT_HOME=str(tmp_path), **DRIVER) as started:
        yield started


def add_node(start: Starter, cluster: Cluster, mounts: str) -> Started:
    """A node of one CPU for which these shell commands changed what is mounted."""
    there = ["unshare", "-m", "sh", "-ec", f'{mounts}\nexec "$@"', "sh"]
    return start.start([*there, sys.executable, "-c", NODE, cluster.address])


def joined(count: int) -> bool:
    return sum(node["Alive"] for node in ray.nodes()) == count


@contextmanager
def head() -> Iterator[Cluster]:
    with loopback_cluster(0) as cluster, driver_of(cluster):
        yield cluster


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces")
def test_nodes_with_other_disks_are_refused_before_work_starts(start: Starter, tmp_path: Path) -> None:
    out, read_only, shards, labels, shared = (
        tmp_path / n for n in ("out", "ro", "shards", "labels", "shared")
    )
    for folder in (out, read_only, shards, labels, shared):
        folder.mkdir()
    (shards / "a.tar").touch(), (labels / "images").mkdir()
    everything = RunPaths.of(
        map(str, (out, read_only, shared)), [f"{shards}/a.tar", str(labels), f"{shared}/gone.tar"]
    )
    with head() as cluster:
        with claimed(everything, ONE) as claim:  # nobody there yet
            assert claim is not None
        hidden = "\n".join(f"mount -t tmpfs none {folder}" for folder in (out, shards, labels))
        node = add_node(
            start,
            cluster,
            f"{hidden}\nmount --bind {read_only} {read_only}\nmount -o remount,bind,ro {read_only}",
        )
        node.until(lambda: joined(2))
        with pytest.raises(ConfigError, match="do not see the files") as caught, claimed(everything, ONE):
            pass
        text = str(caught.value)
        assert f"{out} on the node" in text
        assert f"{read_only} on the node" in text
        assert "Read-only file system" in text
        assert f"{shards} on the node" in text
        assert "it lacks a.tar" in text
        assert f"{labels} on the node" in text
        assert str(shared) not in text
        assert "s3://" in caught.value.remedy
        with (
            claimed(RunPaths.of([str(shared)]), ONE),
            claimed(everything, [{"CPU": 2.0}]),
        ):  # it gets no such work
            assert run_remote(os.getcwd, paths=RunPaths.of([str(shared)]))
        assert list(tmp_path.rglob(".phreg-*")) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces")
def test_a_node_that_joins_later_proves_it_before_its_first_shard(start: Starter, tmp_path: Path) -> None:
    world, urls = make_world(tmp_path), small_shards(tmp_path, 3)
    with head() as cluster:
        cache = world.cache.url.removeprefix("file://")
        late = threading.Timer(1.0, add_node, (start, cluster, f"mount -t tmpfs none {cache}"))
        late.start()
        with pytest.raises(ConfigError, match=rf"{cache} on the node .*: what the driver wrote"):
            generate(world, urls, actors(1, 1, cpus_per_actor=1))
        late.join()
    assert list(world.cache.list("data")) == []
