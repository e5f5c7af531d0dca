"""Damaged targets, noticed by whoever reads them: made anew, that shard alone, and the reading done again."""

from collections.abc import Callable
from typing import TypeVar

from phreg.cache import TargetStore
from phreg.config.run import RunConfig
from phreg.data import shard_name
from phreg.errors import CacheError, CorruptTargetsError, MissingTargetsError
from phreg.execution.targets import generate_targets
from phreg.pipeline.assess import on_cluster
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.targets import check_report
from phreg.progress import under
from phreg.storage import Folder
from phreg.types import Damage

Result = TypeVar("Result")


def on_sound_targets(
    config: RunConfig,
    prepared: Prepared,
    work: Callable[[], Result],
    tell: Callable[[CacheError], None] = lambda error: None,
) -> Result:
    """`work()`, done again whenever damaged targets stopped it and could be made anew.

    So also for targets that went under its hands: another run discards what it finds damaged. `tell` hears
    of it first. A shard is made anew once: if it is found so again, or is not one of this run's, the error is
    raised.
    """
    remade: set[tuple[str, str]] = set()
    while True:
        try:
            return work()
        except (CorruptTargetsError, MissingTargetsError) as error:
            damage = error.damage
            if damage is None or (damage.spec, damage.shard) in remade:
                raise
            tell(error)
            if not remake(config, prepared, damage):
                raise
            remade.add((damage.spec, damage.shard))


def remake(config: RunConfig, prepared: Prepared, damage: Damage) -> bool:
    """Make a shard's targets anew, unless they read well by now. False if it is not one of this run's.

    Raises what the targets stage does.
    """
    names = [name for name, digest in prepared.targets.items() if digest == damage.spec]
    urls = [url for url in (*prepared.train, *prepared.validation) if shard_name(url) == damage.shard]
    if not names or not urls:
        return False
    store = TargetStore.open(Folder(config.cache_url), damage.spec)
    if not on_cluster(config, _reads_well, store, damage.shard):
        store.discard_damaged(damage.shard, damage.attempt)
        with under(f"making the targets of {damage.shard} anew"):
            report = generate_targets(
                teacher=config.teacher,
                cache_url=config.cache_url,
                digest=damage.spec,
                urls=urls,
                generation=config.generation,
                address=config.ray_address,
            )
        check_report(report, names[0], max_quarantined=1.0)  # the share is one of the whole run
    return True


def _reads_well(store: TargetStore, shard: str) -> bool:
    """Another run may have made it anew, or the bytes were wrong on their way only."""
    try:
        store.read(shard)
    except (CorruptTargetsError, MissingTargetsError):
        return False
    return True
