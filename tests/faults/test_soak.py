"""Two thousand shards on four nodes, with a fault every few seconds. PHREG_SOAK_SHARDS: how many shards."""

import os
import random
import time
from pathlib import Path

import pytest

from tests.faults import drive
from tests.faults.caches import digests
from tests.faults.clusters import DRIVER, driver_of, loopback_cluster
from tests.faults.failpoints import COMPUTE, Failpoints
from tests.faults.generation import actors, lost, small_shards, undisturbed
from tests.faults.ledger import trial
from tests.faults.soak import Disturber, Sample, growth, look_at, rate
from tests.generate.worlds import World, make_world

SHARDS = int(os.environ.get("PHREG_SOAK_SHARDS", "2000"))
NODES = 4
RECORD = "phreg.storage.folder:Folder.create"
SEED = 4


def disturbed(driver: drive.Driver, world: World, disturb: Disturber) -> list[Sample]:
    """Faults and samples until the driver ends; no faults for the first and the last few shards."""
    samples, start = [], time.monotonic()
    folder = world.store.folder.local_path / "shards"
    while driver.process.poll() is None:
        done = len(os.listdir(folder)) if folder.is_dir() else 0
        try:
            samples.append(look_at(driver.process.pid, time.monotonic() - start, done))
        except FileNotFoundError:
            break
        if SHARDS // 50 <= done < SHARDS - SHARDS // 50:
            disturb()
        time.sleep(0.5)
    return [sample for sample in samples if 0 < sample.done < SHARDS]


def storage_trouble(points: Failpoints, rng: random.Random) -> list[str]:
    """A commit in two hundred fails once, as a store may."""
    calls = rng.sample(range(1, SHARDS), SHARDS // 200)
    return [points.add(RECORD, "raise", match="shards/", label="path", call=call) for call in calls]


def figures(samples: list[Sample], disturb: Disturber, errors: int, repeated: int) -> str:
    last = samples[-1]
    return (
        f"{SHARDS} shards in {last.seconds:.0f} s; {disturb.happened['actors']} actors and "
        f"{disturb.happened['nodes']} nodes killed, {errors} storage errors, {repeated} shards made again; "
        f"{rate(samples, 0.0, 0.5):.1f} shards/s in the first half, "
        f"{rate(samples, 0.5, 1.0):.1f} in the second; "
        f"driver: {samples[0].memory:.0f} MiB at first, {last.memory:.0f} at last "
        f"({growth(samples, 'memory'):+.1f} from the third quarter to the fourth), "
        f"{samples[0].files} open files at first, {last.files} at last ({growth(samples, 'files'):+.1f})"
    )


@pytest.mark.slow
@pytest.mark.timeout(600 + 2 * SHARDS)
def test_soak(tmp_path: Path) -> None:
    points, rng = Failpoints(tmp_path / "points"), random.Random(SEED)
    points.note(COMPUTE, label="shard.name")
    errors = storage_trouble(points, rng)
    world, urls = make_world(tmp_path, views=2), small_shards(tmp_path / "images", SHARDS, images=1)
    with (
        trial("Soak", f"{SHARDS} shards on {NODES} nodes, a fault every few seconds") as this,
        loopback_cluster(0, points.environment()) as cluster,
    ):
        for _ in range(NODES):
            cluster.add_node(num_cpus=1)
        with driver_of(cluster):
            disturb = Disturber(cluster, rng)
            driver = drive.start(
                tmp_path / "driver",
                world,
                urls,
                actors(1, NODES, cpus_per_actor=1, max_attempts=5),
                address=cluster.address,
                environment=DRIVER | points.environment(),
            )
            samples = disturbed(driver, world, disturb)
            code = driver.ends()
        this.repeated = points.repeated(COMPUTE)
        this.note = figures(
            samples, disturb, sum(len(points.happened(name)) for name in errors), this.repeated
        )
        print(this.note)
        assert code == 0, driver.errors
        report = driver.report
        assert (report["failed"], report["made"] + report["reused"]) == ([], SHARDS)
        expected = undisturbed(world, urls, tmp_path / "alone")
        found = digests(world.cache)
        this.lost = lost(found, expected)
        assert found == expected
        assert sum(disturb.happened.values()) >= 5
        assert this.repeated <= sum(disturb.happened.values()) + len(errors)
        assert growth(samples, "memory") < 16
        assert growth(samples, "files") < 16
