"""How many GPUs a cluster has or may have. Ray believes what it is told of them."""

import re
import socket
from pathlib import Path

import pytest
import ray
from ray._raylet import GCS_AUTOSCALER_CLUSTER_CONFIG_KEY, GCS_AUTOSCALER_STATE_NAMESPACE, GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import ClusterConfig

from phreg.config.run import GenerationConfig
from phreg.device import Gpus, gpus_here
from phreg.errors import ConfigError
from phreg.execution.gpus import gpus_of
from phreg.execution.train import distil
from tests.distill.jobs import make_job
from tests.execution.test_targets import generate
from tests.faults.clusters import driver_of, loopback_cluster
from tests.generate.worlds import make_world
from tests.helpers import write_shard


def configured(cluster: Cluster, gpus: int, most: int) -> None:
    """What an autoscaler tells of the nodes that it may add."""
    config = ClusterConfig()
    config.node_group_configs.add(resources={"CPU": 8, "GPU": gpus}, max_count=most)
    GcsClient(address=cluster.address).internal_kv_put(
        GCS_AUTOSCALER_CLUSTER_CONFIG_KEY.encode(),
        config.SerializeToString(),
        True,
        GCS_AUTOSCALER_STATE_NAMESPACE.encode(),
    )


def test_a_cluster_tells_its_gpus_joined_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head without one, as they often are, and then a node with and one without."""
    with loopback_cluster(cpus=1) as cluster:
        with driver_of(cluster):
            assert gpus_of() == Gpus(0, "the Ray cluster has no GPU now", may_come=True)
            configured(cluster, 0, 4)
            assert gpus_of() == Gpus(0, "the Ray cluster has no GPU, and adds none")
            configured(cluster, 2, 4)
            assert gpus_of() == Gpus(8, "the Ray cluster adds GPUs when they are asked for", may_come=True)
            cluster.add_node(num_cpus=1, num_gpus=3)
            cluster.add_node(num_cpus=1)
            there = gpus_of("10.0.0.1:1")  # connected already: no address is looked at
            assert there == Gpus(3, "the Ray cluster has 3 GPUs, on 1 of 3 nodes", may_come=True)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        assert gpus_of() == there
        assert not ray.is_initialized()


def test_a_cluster_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no Ray cluster at 127"):
        gpus_of("127.0.0.1:9")


@pytest.mark.slow
@pytest.mark.skipif(gpus_here().count > 0, reason="its torch can use a GPU")
def test_a_node_whose_torch_cannot_use_its_gpu_is_named(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job", training={"gpus_per_worker": 1})
    world, url = make_world(tmp_path), str(write_shard(tmp_path / "a.tar", 2))
    message = rf"there is none(?s:.)*this machine(?s:.)*on the node {re.escape(socket.gethostname())}"
    with loopback_cluster() as cluster:
        cluster.add_node(num_cpus=2, num_gpus=1)
        with driver_of(cluster):
            with pytest.raises(ConfigError, match=message):
                generate(world, [url], GenerationConfig(gpus_per_actor=1))
            with pytest.raises(ConfigError, match=message):
                distil(job, str(tmp_path / "output"))
