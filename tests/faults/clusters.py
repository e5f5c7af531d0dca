"""Ray clusters of several nodes on this machine, on loopback, quick to notice that a node is gone."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import state
from ray._private.ray_constants import ENABLE_RAY_CLUSTERS_ENV_VAR
from ray.cluster_utils import Cluster

# For the drivers in other processes of a cluster on loopback.
DRIVER = {ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 6,
    "metrics_report_interval_ms": 500,
}


@contextmanager
def loopback_cluster(
    cpus: int = 0, environment: Mapping[str, str] | None = None, dashboard: bool = False
) -> Iterator[Cluster]:
    """A cluster with only a head, of so many CPUs. Nodes and workers get the environment; nobody connects.

    With a dashboard it takes jobs, at `http://{cluster.head_node.webui_url}`.
    """
    with pytest.MonkeyPatch.context() as patch:
        # Loopback only: see `phreg.execution.cluster`.
        patch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)
        for name, value in (DRIVER | dict(environment or {})).items():
            patch.setenv(name, value)
        head = {"num_cpus": cpus, "include_dashboard": dashboard, "_system_config": QUICK}
        head |= {"dashboard_port": 0, "dashboard_agent_listen_port": 0}  # others of this machine have theirs
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield cluster
        finally:
            ray.shutdown()
            for node in [*cluster.worker_nodes, *([cluster.head_node] if cluster.head_node else [])]:
                with suppress(Exception):  # some of its processes were killed by the test
                    node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


@contextmanager
def driver_of(cluster: Cluster) -> Iterator[None]:
    """This process as a driver of it."""
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def pid_of(node: Any, process: str = "raylet") -> int:
    """The pid of a node's raylet, or of the head's "gcs_server"."""
    return int(node.all_processes[process][0].process.pid)


def kill_node(node: Any) -> None:
    """SIGKILL of its raylet and of its target actors, as if the machine were gone. (Left alone by its raylet,
    an actor first finishes its shard.) Its other processes stay until the cluster is taken down."""
    os.kill(pid_of(node), signal.SIGKILL)
    for pid, place in nodes_of_actors().items():
        if place == node.node_id and alive(pid):
            os.kill(pid, signal.SIGKILL)


def nodes_of_actors() -> dict[int, str]:
    """Pids of this Ray's target actors, dead or alive, and the node of each (the machine may run others')."""
    found = [actor for actor in state.actors().values() if "TargetActor" in actor["ActorClassName"]]
    return {actor["Pid"]: actor["Address"]["NodeID"] for actor in found if actor["Pid"]}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
