"""Whatever the way to them, the targets of a shard are the same bits."""

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phreg.execution.cluster import connect
from phreg.generate import generator
from phreg.generate.teacher import compute_targets
from phreg.storage import Folder
from tests.faults.caches import Digests, digests
from tests.faults.failpoints import Failpoints
from tests.faults.generation import actors, generate
from tests.faults.ledger import trial
from tests.generate.worlds import World, make_world
from tests.helpers import jpeg_bytes, make_image, write_tar

GROUP = "Determinism"
ENCODINGS = ("float32", "float16", "bfloat16", "int8")
sides = st.integers(8, 90)
images = st.tuples(sides, sides)
shards = st.lists(st.lists(images, min_size=1, max_size=5), min_size=1, max_size=3)


class Interruption(Exception):
    """Stands for whatever ends a process."""


@dataclass
class Interrupted:
    """`compute_targets`, ended at its n-th call (0: never)."""

    at: int
    calls: int = 0

    def __call__(self, *arguments: Any) -> np.ndarray:
        self.calls += 1
        if self.calls == self.at:
            raise Interruption
        return compute_targets(*arguments)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[World]:
    folder = tmp_path_factory.mktemp("worlds")
    return [
        make_world(folder, encoding=encoding, crops_per_image=crops)
        for encoding, crops in itertools.product(ENCODINGS, (1, 2))
    ]


def pack(folder: Path, sizes: list[list[tuple[int, int]]]) -> list[str]:
    """A shard for each list of image sizes."""
    urls = []
    for number, shard in enumerate(sizes):
        members = [
            (f"k{i}.jpg", jpeg_bytes(make_image(100 * number + i, width, height)))
            for i, (width, height) in enumerate(shard)
        ]
        urls.append(str(write_tar(folder / f"s{number}.tar", members)))
    return urls


def in_memory(world: World) -> World:
    return world.with_cache(Folder(f"memory://determinism-{uuid.uuid4().hex}"))


def plainly(world: World, urls: list[str]) -> Digests:
    """One image at a time, one thread, one generator, no interruption."""
    plain = in_memory(world)
    made = plain.generator(images_per_forward=1, decode_threads=1)
    for url in urls:
        made.generate(url)
    return digests(plain.cache)


@given(
    which=st.integers(0, 7),
    sizes=shards,
    batch=st.integers(1, 7),
    threads=st.integers(1, 4),
    interruptions=st.lists(st.integers(0, 6), max_size=3),
    data=st.data(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_batches_threads_orders_and_interruptions_change_nothing(
    worlds: list[World],
    tmp_path: Path,
    which: int,
    sizes: list[list[tuple[int, int]]],
    batch: int,
    threads: int,
    interruptions: list[int],
    data: st.DataObject,
) -> None:
    urls, world = pack(tmp_path, sizes), in_memory(worlds[which])
    for at in [*interruptions, 0]:  # each time a new process, with another order
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(generator, "compute_targets", Interrupted(at))
            made = world.generator(images_per_forward=batch, decode_threads=threads)
            try:
                for url in data.draw(st.permutations(urls)):
                    made.generate(url)
            except Interruption:
                continue
    assert digests(world.cache) == plainly(world, urls)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failpoints]:
    failpoints = Failpoints(tmp_path_factory.mktemp("faults") / "points")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in failpoints.environment().items():
            patch.setenv(name, value)
        with connect("local"):
            yield failpoints


@pytest.mark.slow
def test_actors_and_their_deaths_change_nothing(
    worlds: list[World], points: Failpoints, tmp_path: Path
) -> None:
    numbers = itertools.count()

    @given(
        which=st.integers(0, 7),
        sizes=st.lists(st.lists(images, min_size=1, max_size=4), min_size=3, max_size=6),
        most=st.integers(1, 3),
        batch=st.integers(1, 5),
        call=st.integers(1, 8),
    )
    @settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(which: int, sizes: list[list[tuple[int, int]]], most: int, batch: int, call: int) -> None:
        folder = tmp_path / str(next(numbers))
        points.clear()
        points.add("phreg.generate.teacher:compute_targets", "kill", call=call)
        world = worlds[which].with_cache(Folder(str(folder / "cache")))
        urls = pack(folder, sizes)
        report = generate(world, urls, actors(1, most, cpus_per_actor=0.3, images_per_forward=batch))
        assert report.failed == ()
        assert digests(world.cache) == plainly(world, urls)

    with trial(GROUP, "random shards, 1 to 3 actors, one killed at a random batch (5 examples)"):
        check()
