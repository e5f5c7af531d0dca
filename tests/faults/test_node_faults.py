"""Nodes that are killed, join and come back. Real clusters of several nodes, all on this machine."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from phreg.generate import TargetsReport
from tests.faults import drive
from tests.faults.caches import digests
from tests.faults.clusters import (
    DRIVER,
    driver_of,
    kill_node,
    loopback_cluster,
    nodes_of_actors,
    pid_of,
)
from tests.faults.failpoints import COMPUTE, Failpoints
from tests.faults.generation import actors, generate, small_shards, undisturbed
from tests.faults.ledger import trial
from tests.generate.worlds import World, make_world

GROUP = "Ray nodes"
WHOLE = actors(1, 2, cpus_per_actor=1)  # one a node


@pytest.fixture
def points(tmp_path: Path) -> Failpoints:
    return Failpoints(tmp_path / "points")


@pytest.fixture
def cluster(points: Failpoints) -> Iterator[Cluster]:
    """A head without CPUs and two nodes of one, this process as driver, the failpoints in every worker."""
    with loopback_cluster(0, points.environment()) as started, driver_of(started):
        for _ in range(2):
            started.add_node(num_cpus=1)
        yield started


@contextmanager
def running(points: Failpoints, hold: str, world: World, urls: list[str]) -> Iterator[Future[TargetsReport]]:
    """Target generation in a thread (nodes can be added in the main one only), which the block disturbs;
    then what is held is let go."""
    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(generate, world, urls, WHOLE)
        try:
            yield report
        finally:
            points.release(hold)


def test_a_killed_node_costs_its_shard_and_one_that_joins_is_used(
    cluster: Cluster, points: Failpoints, tmp_path: Path
) -> None:
    hold = points.add(COMPUTE, "hold", label="shard.name", call=4, times=99)
    world, urls = make_world(tmp_path), small_shards(tmp_path, 10)

    with trial(GROUP, "SIGKILL of a node, while another joins") as this:
        with running(points, hold, world, urls) as made:
            first, second = points.await_(hold, 2)
            where = nodes_of_actors()
            assert where[first] != where[second]
            kill_node(next(node for node in cluster.worker_nodes if node.node_id == where[first]))
            joined = cluster.add_node(num_cpus=1)
            third = points.await_(hold, 3)[2]
            assert nodes_of_actors()[third] == joined.node_id
        assert made.result().failed == ()
        this.repeated = points.repeated()
        assert this.repeated == 1
        assert digests(world.cache) == undisturbed(world, urls, tmp_path / "alone")


@pytest.mark.slow
def test_all_nodes_are_lost_and_one_comes_back(cluster: Cluster, points: Failpoints, tmp_path: Path) -> None:
    hold = points.add(COMPUTE, "hold", label="shard.name", call=2, times=99)
    world, urls = make_world(tmp_path), small_shards(tmp_path, 6)

    with trial(GROUP, "SIGKILL of all nodes but the head, then one comes back") as this:
        with running(points, hold, world, urls) as made:
            points.await_(hold, 2)
            for node in cluster.worker_nodes:
                kill_node(node)
            cluster.add_node(num_cpus=1)
            points.await_(hold, 3)
        assert made.result().failed == ()
        this.repeated = points.repeated()
        assert this.repeated == 2
        assert digests(world.cache) == undisturbed(world, urls, tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "process", "words"),
    [
        (
            "SIGKILL of the head (its GCS), then a new cluster",
            "gcs_server",
            "head of the Ray cluster is gone",
        ),
        ("SIGKILL of the driver's own node, then a new cluster", "raylet", "own Ray node is gone"),
    ],
)
def test_a_lost_head_is_a_clear_error_and_a_new_cluster_goes_on(
    points: Failpoints, tmp_path: Path, fault: str, process: str, words: str
) -> None:
    hold = points.add(COMPUTE, "hold", label="shard.name", call=3)
    world, urls = make_world(tmp_path), small_shards(tmp_path, 5)
    with trial(GROUP, fault) as this:
        with loopback_cluster(0, points.environment()) as cluster:
            cluster.add_node(num_cpus=1)
            environment = DRIVER | points.environment()
            driver = drive.start(
                tmp_path / "first",
                world,
                urls,
                actors(1, 1, cpus_per_actor=1),
                address=cluster.address,
                environment=environment,
                patience=4,
            )
            points.await_(hold, seconds=240)
            os.kill(pid_of(cluster.head_node, process), signal.SIGKILL)
            assert driver.ends(120) == 1
            assert words in driver.errors
            assert "run the same command again" in driver.errors
            this.rerun = True
        again = drive.start(tmp_path / "again", world, urls, actors(1, 1), environment=points.environment())
        assert again.ends() == 0, again.errors
        this.repeated = points.repeated()
        assert this.repeated == 1
        assert digests(world.cache) == undisturbed(world, urls, tmp_path / "alone")
