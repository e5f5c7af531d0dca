"""Target actors that are killed at the worst moments. One local Ray, actors of half a CPU."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from phreg.cache.garbage import collect_garbage
from phreg.execution.cluster import connect
from tests.faults.caches import digests
from tests.faults.clusters import alive
from tests.faults.failpoints import COMPUTE, Failpoints
from tests.faults.generation import actors, generate, lost, small_shards, undisturbed
from tests.faults.ledger import trial
from tests.generate.worlds import make_world

GROUP = "Target actors"
MOMENTS = {
    "while it decodes": ("phreg.data.decode:decode_image", {"call": 2}),
    "while it computes": ("phreg.generate.teacher:compute_targets", {"call": 7}),
    "while it writes data": ("phreg.storage.folder:Folder.write", {"call": 14, "when": "after"}),
    "between data and commit record": (
        "phreg.storage.folder:Folder.create",
        {"call": 6, "match": "shards/", "label": "path"},
    ),
    "after the commit record": (
        "phreg.storage.folder:Folder.create",
        {"call": 9, "match": "shards/", "when": "after"},
    ),
}


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failpoints]:
    """The failpoints of a local Ray that is started here."""
    failpoints = Failpoints(tmp_path_factory.mktemp("faults") / "points")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in failpoints.environment().items():
            patch.setenv(name, value)
        with connect("local"):
            yield failpoints


def test_actors_killed_while_they_work_cost_the_shard_in_their_hands(
    points: Failpoints, tmp_path: Path
) -> None:
    """All moments in one run: each kills the actor that is the first, second... to come there."""
    points.clear()
    points.note(COMPUTE, label="shard.name")
    names = {moment: points.add(place, "kill", **how) for moment, (place, how) in MOMENTS.items()}
    world, urls = make_world(tmp_path), small_shards(tmp_path, 12)
    with ExitStack() as stack:
        trials = {moment: stack.enter_context(trial(GROUP, f"SIGKILL {moment}")) for moment in MOMENTS}
        report = generate(world, urls, actors(1, 2))
        assert report.failed == ()
        assert digests(world.cache) == undisturbed(world, urls, tmp_path / "alone")
        for moment, this in trials.items():
            (pid,) = points.happened(names[moment])
            held = points.labels(COMPUTE, pid)[-1]
            this.repeated = min(points.labels(COMPUTE).count(held) - 1, 1)
        assert points.repeated(COMPUTE) == len(MOMENTS) - 1
        before = digests(world.cache)
        garbage = collect_garbage(world.cache, grace_seconds=0)
        assert len(garbage.removed) == 2  # what the third and the fourth had written of their shards
        assert digests(world.cache) == before


def test_a_shard_that_kills_every_actor_is_given_up_by_name(points: Failpoints, tmp_path: Path) -> None:
    points.clear()
    points.note(COMPUTE, label="shard.name")
    kill = points.add(COMPUTE, "kill", match="s001", times=99)
    world, urls = make_world(tmp_path), small_shards(tmp_path, 5)
    with trial(GROUP, "a shard that kills every actor (given up after three)") as this:
        report = generate(world, urls, actors(1, 2))
        ((name, reason),) = report.failed
        assert name == "s001"
        assert "died" in reason
        assert len(points.happened(kill)) == 3
        this.repeated = points.repeated(COMPUTE)
        assert this.repeated == 2
        expected = undisturbed(world, [url for url in urls if "s001" not in url], tmp_path / "alone")
        assert digests(world.cache) == expected
        points.clear()  # it may be mended: the same command goes on
        assert generate(world, urls, actors(1, 1)).made == 1
        assert lost(digests(world.cache), undisturbed(world, urls, tmp_path / "whole")) == 0


@pytest.mark.slow
def test_a_stopped_actor_is_replaced(points: Failpoints, tmp_path: Path) -> None:
    """SIGSTOP: the process is there, and Ray content. What it has is made by another; it is killed."""
    points.clear()
    points.note(COMPUTE, label="shard.name")
    stop = points.add("phreg.generate.teacher:compute_targets", "stop", call=3)
    world, urls = make_world(tmp_path), small_shards(tmp_path, 5)
    with trial(GROUP, "SIGSTOP while it computes (replaced after stall_timeout_s)") as this:
        report = generate(world, urls, actors(1, 1, stall_timeout_s=30))
        assert report.failed == ()
        this.repeated = points.repeated(COMPUTE)
        assert this.repeated == 1
        assert digests(world.cache) == undisturbed(world, urls, tmp_path / "alone")
        (pid,) = points.happened(stop)
        deadline = time.monotonic() + 60
        while alive(pid):
            assert time.monotonic() < deadline
            time.sleep(0.1)
