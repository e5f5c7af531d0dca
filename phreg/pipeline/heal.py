"""Damaged targets, noticed by whoever reads them: made anew, that shard alone, and the reading done again."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from phreg.cache import TargetStore
from phreg.config.run import RunConfig
from phreg.data import shard_name
from phreg.errors import CacheError, CorruptTargetsError, MissingTargetsError
from phreg.pipeline.assess import on_cluster
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.targets import check_report, generated
from phreg.progress import under
from phreg.stopping import check_stop
from phreg.storage import Folder
from phreg.types import Damage

Result = TypeVar("Result")
LOOK_S = 0.5
_remaking = threading.Lock()


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

    Students side by side may find one shard damaged: the first has it made anew, the others wait.
    Raises what the targets stage does.
    """
    names = [name for name, digest in prepared.targets.items() if digest == damage.spec]
    urls = [url for url in (*prepared.train, *prepared.validation) if shard_name(url) == damage.shard]
    if not names or not urls:
        return False
    with _one_at_a_time():
        _remake(config, damage, names[0], urls)
    return True


def _remake(config: RunConfig, damage: Damage, targets: str, urls: list[str]) -> None:
    store = TargetStore.open(Folder(config.cache_url), damage.spec)
    if not on_cluster(config, _reads_well, store, damage.shard):
        store.discard_damaged(damage.shard, damage.attempt)
        with under(f"making the targets of {damage.shard} anew"):
            report = generated(config, damage.spec, urls)
        check_report(report, targets, max_quarantined=1.0)  # the share is one of the whole run


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    while not _remaking.acquire(timeout=LOOK_S):
        check_stop()
    try:
        yield
    finally:
        _remaking.release()


def _reads_well(store: TargetStore, shard: str) -> bool:
    """Another run may have made it anew, or the bytes were wrong on their way only."""
    try:
        store.read(shard)
    except (CorruptTargetsError, MissingTargetsError):
        return False
    return True
