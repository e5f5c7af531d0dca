"""A small generation to disturb in this process: four shards, and what an undisturbed run makes of them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from phreg.generate.report import ShardReport
from phreg.storage import Folder
from tests.faults.caches import Digests, digests
from tests.generate.worlds import World, make_world
from tests.helpers import write_shard

SHARDS = 4


@dataclass(frozen=True)
class Scene:
    """`expected`: the digests of an undisturbed cache."""

    world: World
    files: tuple[Path, ...]
    expected: Digests

    @property
    def urls(self) -> list[str]:
        return [str(file) for file in self.files]

    def upload(self, folder: Folder) -> list[str]:
        """The shards in another store; their URLs there."""
        for file in self.files:
            folder.write(file.name, file.read_bytes())
        return [folder.url_of(file.name) for file in self.files]

    def generate(self, cache: Folder, urls: list[str], threads: int = 1) -> list[ShardReport]:
        """As a run does it: all shards, those before a failure are kept. Raises the first error."""
        generator = self.world.with_cache(cache).generator()
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(generator.generate, urls))


def make_scene(folder: Path) -> Scene:
    world = make_world(folder)
    files = tuple(write_shard(folder / f"shards/s-{i}.tar", n=3, seed=i) for i in range(SHARDS))
    scene = Scene(world, files, {})
    scene.generate(world.cache, scene.urls)
    return Scene(world, files, digests(world.cache))


def attempts(cache: Folder) -> int:
    """How many times a shard's data was written, committed or not."""
    return len({tuple(item.path.split("/")[:3]) for item in cache.list() if "/data/" in f"/{item.path}"})
