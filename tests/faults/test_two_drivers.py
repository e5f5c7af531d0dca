"""Runs of target generation at the same moment on one cache, and a gc beside them."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.faults import drive
from tests.faults.caches import digests
from tests.faults.clusters import DRIVER, loopback_cluster
from tests.faults.failpoints import COMPUTE, Failpoints
from tests.faults.generation import actors, small_shards, undisturbed
from tests.faults.ledger import trial
from tests.generate.worlds import make_world

GROUP = "Two of everything"
LABEL = "self.spec.digest shard.name"
SHARDS = 24


def collect_garbage_again_and_again(cache: str, ended: threading.Event, told: list[str]) -> None:
    """With the default grace period, through the command line."""
    command = [Path(sys.executable).with_name("phreg"), "cache", "gc", cache]
    while not ended.is_set():
        told.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_three_runs_of_two_configs_and_a_gc_share_a_cache(tmp_path: Path) -> None:
    """Three drivers on one cluster, two of the same spec; their first shards are held till all have one."""
    points = Failpoints(tmp_path / "points")
    hold = points.add(COMPUTE, "hold", label=LABEL, times=3)
    same, other = make_world(tmp_path), make_world(tmp_path, seed=1)
    urls = small_shards(tmp_path, SHARDS)
    with (
        trial(GROUP, "two runs of the same config on one cache") as twice,
        trial(GROUP, "two runs of different configs on one cache") as differing,
        trial(GROUP, "`phreg cache gc` during runs"),
        loopback_cluster(2, points.environment()) as cluster,
    ):
        started = [
            drive.start(
                tmp_path / f"driver{number}",
                world,
                urls,
                actors(1, 1),
                address=cluster.address,
                environment=DRIVER | points.environment(),
            )
            for number, world in enumerate((same, same, other))
        ]
        points.await_(hold, 3, seconds=240)
        ended, told = threading.Event(), []
        collector = threading.Thread(
            target=collect_garbage_again_and_again, args=(same.cache.url, ended, told)
        )
        collector.start()
        points.release(hold)
        codes = [driver.ends() for driver in started]
        ended.set()
        collector.join()
        assert codes == [0, 0, 0], [driver.errors for driver in started]
        expected = undisturbed(same, urls, tmp_path / "alone") | undisturbed(other, urls, tmp_path / "alone")
        assert digests(same.cache) == expected
        passes = points.labels(COMPUTE)
        of_other = [label for label in passes if label.startswith(other.spec.digest)]
        differing.repeated = len(of_other) - SHARDS
        assert differing.repeated == 0
        twice.repeated = len(passes) - 2 * SHARDS
        # In the same order both would do every shard; now they meet when few are left.
        assert twice.repeated <= SHARDS // 2
        reports = [driver.report for driver in started]
        assert all(report["made"] + report["reused"] == SHARDS for report in reports)
        assert told


@pytest.mark.slow
def test_two_runs_each_with_a_ray_of_its_own(tmp_path: Path) -> None:
    points = Failpoints(tmp_path / "points")
    hold = points.add(COMPUTE, "hold", label=LABEL, times=2)
    world, urls = make_world(tmp_path), small_shards(tmp_path, SHARDS)
    environment = points.environment()
    with trial(GROUP, "two runs of the same config, each with a local Ray") as this:
        started = [
            drive.start(tmp_path / f"driver{i}", world, urls, actors(1, 2), environment=environment)
            for i in range(2)
        ]
        points.await_(hold, 2, seconds=240)
        points.release(hold)
        codes = [driver.ends() for driver in started]
        assert codes == [0, 0], [driver.errors for driver in started]
        assert digests(world.cache) == undisturbed(world, urls, tmp_path / "alone")
        this.repeated = points.repeated()
        assert this.repeated <= SHARDS // 2
