"""Target generation through real Ray actors, with a teacher that each loads from disk."""

import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray._private import state

from phreg.config.run import GenerationConfig
from phreg.errors import (
    CheckpointError,
    ConfigError,
    ContentMismatchError,
    DownloadError,
    GenerationError,
    MissingTargetsError,
    ModelError,
    NonFiniteError,
    ObjectNotFoundError,
    ShardError,
    SpecMismatchError,
    StorageError,
)
from phreg.execution.cluster import connect
from phreg.execution.pool import OnError
from phreg.execution.tally import TargetsProgress
from phreg.execution.targets import generate_targets, judge
from phreg.generate import TargetsReport
from phreg.models import hub_files, load_backbone
from phreg.storage import Folder
from tests.generate.worlds import SIZE, World, make_world
from tests.helpers import tiny_dinov2, write_shard, write_tar

TWO = GenerationConfig(min_actors=1, max_actors=2, start_timeout_s=120)


@pytest.fixture(scope="module")
def local_ray(s3_server: str) -> Iterator[None]:
    """Started after the S3 server's variables are set: actors inherit them."""
    with connect("local"):
        yield


def generate(world: World, urls: list[str], generation: GenerationConfig = TWO, **more: Any) -> TargetsReport:
    return generate_targets(
        teacher=world.teacher,
        cache_url=world.cache.url,
        digest=world.spec.digest,
        urls=urls,
        generation=generation,
        **more,
    )


def digests(world: World) -> dict[str, str]:
    return {name: record.data_digest for name, record in world.store.records().items()}


def target_actors() -> list[int]:
    """Pids of this Ray's target actors (the machine may run others')."""
    actors = state.actors(actor_state_name="ALIVE").values()
    return [actor["Pid"] for actor in actors if "Target" in actor["ActorClassName"]]


@pytest.mark.usefixtures("local_ray")
def test_shards_are_made_once_reported_and_then_reused(tmp_path: Path) -> None:
    world = make_world(tmp_path, crops_per_image=2)
    urls = [str(write_shard(tmp_path / f"s{i}.tar", 3, seed=i)) for i in range(5)]
    alone = world.with_cache(Folder(str(tmp_path / "alone")))
    for url in urls:
        alone.generator().generate(url)
    told: list[TargetsProgress] = []
    report = generate(world, urls, on_progress=told.append)
    assert digests(world) == digests(alone)  # actors make what one generator makes
    assert [shard.shard for shard in report.shards] == [f"s{i}" for i in range(5)]
    assert (report.made, report.reused, report.failed) == (5, 0, ())
    assert (report.images, report.forward_passes) == (15, 5 * 3 * 2 * 4)
    assert report.bytes == sum(record.bytes for record in world.store.records().values())
    assert sorted({progress.done for progress in told} - {0}) == [1, 2, 3, 4, 5]
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert told[-1].remaining == 0
    assert next(progress for progress in told if progress.done == 1).remaining > 0
    assert told[-1].images == told[-1].images_to_make == 15
    assert report.seconds > 0

    again = generate(world, urls)
    assert (again.made, again.reused, again.forward_passes, again.images) == (0, 5, 0, 15)
    assert again.seconds == 0  # of the work, not of the wait for actors
    json.dumps(dataclasses.asdict(again))


@pytest.mark.usefixtures("local_ray")
def test_bad_shards_are_reported_by_name_after_the_others_were_made(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    short = tmp_path / "short.tar"
    short.write_bytes(write_shard(tmp_path / "s0.tar", 2).read_bytes()[:2000])
    mixed = write_tar(tmp_path / "mixed.tar", [("bad.jpg", b"no"), ("worse.jpg", b"no")])
    good = [str(write_shard(tmp_path / f"s{i}.tar", 2, seed=i)) for i in range(3)]
    told: list[TargetsProgress] = []
    urls = [str(short), str(tmp_path / "absent.tar"), str(mixed), *good]
    report = generate(world, urls, on_progress=told.append)
    assert sorted(name for name, _ in report.failed) == ["absent", "short"]
    assert "short.tar" in dict(report.failed)["short"]
    assert report.made == 4
    assert sorted(sample[:2] for sample in report.quarantined) == [("mixed", "bad"), ("mixed", "worse")]
    assert set(world.store.records()) == {"mixed", "s0", "s1", "s2"}
    assert told[-1].done == 6


@pytest.mark.usefixtures("local_ray")
def test_the_cache_may_be_a_bucket(tmp_path: Path, s3_folder: Folder) -> None:
    world = make_world(tmp_path).with_cache(s3_folder)
    local = write_shard(tmp_path / "s0.tar", 2)
    (s3_folder / "images").write("s0.tar", local.read_bytes())
    urls = [f"{s3_folder.url}/images/s0.tar"]
    assert generate(world, urls).made == 1
    assert generate(world, urls).reused == 1
    assert len(world.store.read("s0")) == 2


@pytest.mark.usefixtures("local_ray")
def test_a_teacher_that_is_not_the_spec_s_stops_the_run(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    url = str(write_shard(tmp_path / "s0.tar", 2))
    for name, data in hub_files(load_backbone(tiny_dinov2(SIZE, seed=9))).items():
        Folder(str(tmp_path / "teacher")).write(name, data)
    with pytest.raises(SpecMismatchError) as caught:
        generate(world, [url])
    assert type(caught.value) is SpecMismatchError
    (tmp_path / "teacher" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError):
        generate(world, [url])
    assert world.store.records() == {}


@pytest.mark.usefixtures("local_ray")
def test_a_killed_actor_leaves_the_same_targets(tmp_path: Path) -> None:
    """SIGKILL as soon as the first shard is committed; what was in flight is made anew."""
    world = make_world(tmp_path)
    urls = [str(write_shard(tmp_path / f"s{i}.tar", 4, seed=i)) for i in range(6)]
    killed: list[int] = []

    def kill(progress: TargetsProgress) -> None:
        if progress.done and not killed:
            killed.append(target_actors()[0])
            os.kill(killed[0], signal.SIGKILL)

    report = generate(world, urls, on_progress=kill)
    assert killed
    assert (report.failed, len(report.shards)) == ((), 6)
    alone = world.with_cache(Folder(str(tmp_path / "alone")))
    for url in urls:
        alone.generator().generate(url)
    assert digests(world) == digests(alone)


def test_a_store_that_is_not_there_is_found_before_ray_starts(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with pytest.raises(MissingTargetsError):
        generate_targets(
            teacher=world.teacher,
            cache_url=world.cache.url,
            digest="0" * 64,
            urls=["a.tar"],
            generation=TWO,
            address="127.0.0.1:9",
        )


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ModelError("m"), OnError.STOP),
        (CheckpointError("c"), OnError.STOP),
        (ConfigError("c"), OnError.STOP),
        (SpecMismatchError("s"), OnError.STOP),
        (ShardError("s"), OnError.GIVE_UP),
        (ContentMismatchError("c"), OnError.GIVE_UP),
        (ObjectNotFoundError("o"), OnError.GIVE_UP),
        (NonFiniteError("n"), OnError.GIVE_UP),
        (GenerationError("g"), OnError.GIVE_UP),
        (StorageError("s"), OnError.RETRY),
        (DownloadError("d"), OnError.STOP),
        (RuntimeError("CUDA error: an illegal memory access"), OnError.REPLACE),
    ],
)
def test_the_judge_knows_what_may_pass(error: Exception, verdict: OnError) -> None:
    assert judge(error) is verdict
