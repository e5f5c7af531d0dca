"""Too large for the cluster: refused at once where no node will join, waited for where one may."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.cluster_utils import Cluster

from phreg.config.run import GenerationConfig
from phreg.device import gpus_here
from phreg.errors import ConfigError
from phreg.execution.capacity import CapacityCheck, may_grow
from phreg.execution.cluster import connect
from phreg.execution.gpus import gpus_of
from phreg.execution.remote import run_remote
from phreg.execution.train import distil
from tests.distill.jobs import make_job
from tests.execution.test_targets import generate
from tests.faults.clusters import driver_of, loopback_cluster
from tests.generate.worlds import make_world
from tests.helpers import write_shard


def room(count: int, patience: float = 0, **resources: float) -> CapacityCheck:
    return CapacityCheck(resources, count, "a test", "test.option", patience)


def test_a_ray_of_our_own_is_too_small_at_once(tmp_path: Path) -> None:
    with connect("local"):
        assert not may_grow()
        assert (gpus_of().count, gpus_of().may_come) == (gpus_here().count, False)
        cpus = int(ray.nodes()[0]["Resources"]["CPU"])
        room(cpus, CPU=1).check()
        room(1, CPU=cpus, GPU=0).check()
        for count, resources in ((1, {"CPU": cpus + 1}), (cpus + 1, {"CPU": 1}), (1, {"CPU": 1, "GPU": 1})):
            with pytest.raises(ConfigError, match=r"no room for a test\n(?s:.)*test\.option"):
                room(count, patience=3600, **resources).check()
        with pytest.raises(ConfigError, match="no room for int"):
            run_remote(int, num_gpus=1, start_timeout_s=3600)
        world = make_world(tmp_path)
        two = GenerationConfig(min_actors=2, max_actors=2, gpus_per_actor=1)
        with pytest.raises(ConfigError, match=r"2 x 1 CPU, 1 GPU(?s:.)*generation\.min_actors"):
            generate(world, ["a.tar", "b.tar"], two)


@contextlib.contextmanager
def autoscaler(cluster: Cluster, cpus: float, most: int) -> Iterator[None]:
    """What Ray's does: while something waits that no node has room for, a node joins, up to so many."""
    ended = threading.Event()

    def scale() -> None:
        while not ended.wait(0.5):
            waiting = get_cluster_status(cluster.address).resource_demands
            demanded = waiting.ray_task_actor_demand or waiting.placement_group_demand
            if demanded and len(cluster.worker_nodes) < most:
                cluster.add_node(num_cpus=cpus)

    scaling = threading.Thread(target=scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray._private.utils.set_sigterm_handler", lambda handler: None)  # not from a thread
        scaling.start()
        try:
            yield
        finally:
            ended.set()
            scaling.join()


@pytest.mark.slow
def test_a_cluster_without_workers_grows_as_it_is_asked(tmp_path: Path) -> None:
    """Evaluation, targets and training, each the first to ask; what no node holds is given up in time."""
    training = {"workers": 2, "checkpoint_every": 7, "start_timeout_s": 240}
    job = make_job(tmp_path, shards=2, training=training)
    patient = GenerationConfig(start_timeout_s=240)
    world = make_world(tmp_path / "world")
    url = str(write_shard(tmp_path / "s-0.tar", n=2))
    with loopback_cluster(0) as cluster, driver_of(cluster):
        assert may_grow()
        with pytest.raises(ConfigError, match=r"no room for int after 1 s\n(?s:.)*64 CPU"):
            run_remote(int, num_cpus=64, start_timeout_s=1)
        for first in (
            lambda: run_remote(int, "7", num_cpus=2, start_timeout_s=240) == 7,
            lambda: generate(world, [url], patient).made == 1,
            lambda: distil(job, str(tmp_path / "output")).steps > 0,
        ):
            with autoscaler(cluster, cpus=2, most=1):
                assert first()
            for node in list(cluster.worker_nodes):
                cluster.remove_node(node)


def test_training_that_a_cluster_cannot_hold_is_given_up_in_time(tmp_path: Path) -> None:
    training = {"workers": 2, "cpus_per_worker": 2, "start_timeout_s": 3}
    job = make_job(tmp_path, shards=2, training=training)
    with loopback_cluster(2) as cluster, driver_of(cluster):
        with pytest.raises(ConfigError, match=r"2 x 2 CPU(?s:.)*2 CPU, 0 GPU"):
            distil(job, str(tmp_path / "output"))
        assert run_remote(int, "7", num_cpus=2) == 7, "its workers' place is given back"
