"""Target generation to be disturbed: many quick shards, and what an undisturbed run makes of them."""

from pathlib import Path
from typing import Any

from phreg.config.run import GenerationConfig
from phreg.execution.targets import generate_targets
from phreg.generate import TargetsReport
from phreg.storage import Folder
from tests.faults.caches import Digests, digests
from tests.generate.worlds import World
from tests.helpers import write_shard


def small_shards(folder: Path, n: int, images: int = 2) -> list[str]:
    """URLs of n shards s000, s001, ... of a few small images."""
    paths = [folder / f"s{i:03d}.tar" for i in range(n)]
    return [str(write_shard(path, images, seed=i, width=48, height=40)) for i, path in enumerate(paths)]


def actors(least: int, most: int, **changes: Any) -> GenerationConfig:
    fields = {"min_actors": least, "max_actors": most, "cpus_per_actor": 0.5, "start_timeout_s": 240}
    return GenerationConfig(**(fields | changes))


def generate(world: World, urls: list[str], generation: GenerationConfig, **more: Any) -> TargetsReport:
    return generate_targets(
        teacher=world.teacher,
        cache_url=world.cache.url,
        digest=world.spec.digest,
        urls=urls,
        generation=generation,
        **more,
    )


def undisturbed(world: World, urls: list[str], folder: Path) -> Digests:
    """What one generator makes of the shards, in this process, in a cache of its own."""
    alone = world.with_cache(Folder(str(folder)))
    generator = alone.generator()
    for url in urls:
        generator.generate(url)
    return digests(alone.cache)


def lost(found: Digests, expected: Digests) -> int:
    """Shards that are missing or differ."""
    return sum(
        found.get(spec, {}).get(shard) != content
        for spec, shards in expected.items()
        for shard, content in shards.items()
    )
