"""Target specs that no config uses any more."""

from collections.abc import Iterator, Sequence

from phreg.cache import Cache
from phreg.config.reading import read_mapping
from phreg.config.run import RunConfig, load_config
from phreg.config.table import load_table
from phreg.errors import ConfigError
from phreg.models import load_teacher
from phreg.pipeline.prepare import target_specs
from phreg.progress import tell
from phreg.storage.file_systems import absolute_url


def unused_specs(cache: Cache, configs: Sequence[str]) -> list[str]:
    """Digests of the cache's specs that are none of these runs' and tables' (all their seeds), sorted.

    Where `precision: auto` decides, those of a CPU and of a GPU are both used. Raises `ConfigError` for a
    config of another cache, and where the configs use nothing of what is there: then they are not the right
    ones, or their teachers have changed.
    """
    there, used = cache.digests(), set[str]()
    for path in configs:
        tell(f"reading {path}")
        for config in _runs(path):
            if absolute_url(config.cache_url).rstrip("/") != cache.folder.url.rstrip("/"):
                raise ConfigError(
                    f"The config {path} uses another cache", cache.folder.url, absolute_url(config.cache_url)
                )
            teacher = load_teacher(config.teacher)
            for device in ("cpu", "cuda"):
                used |= {spec.digest for spec in target_specs(config.on(device), teacher).values()}
    if not used & set(there):
        raise ConfigError(
            f"None of the targets in {cache.folder.url} are used by {', '.join(configs)}",
            expected=f"one at least of {', '.join(digest[:12] for digest in there)}",
            found=", ".join(digest[:12] for digest in sorted(used)),
            remedy="name all configs whose targets are to be kept; `phreg cache rm` removes single ones",
        )
    return [digest for digest in there if digest not in used]


def _runs(path: str) -> Iterator[RunConfig]:
    if "run" not in read_mapping(path):
        yield load_config(path)
        return
    table = load_table(path)
    yield from (table.seeded(seed) for seed in table.seeds)
