"""Removing what no commit record names: lost races, interrupted attempts, discarded shards.

Safe beside running writers. Data is listed first and records are read after it, so an attempt that
commits in between is seen as committed; one that commits later is younger than the grace period.
"""

import time
from dataclasses import dataclass

from phreg.cache.catalog import Cache
from phreg.cache.parallel import in_parallel
from phreg.cache.records import CommitRecord
from phreg.errors import CorruptTargetsError, ObjectNotFoundError, SpecMismatchError
from phreg.storage import Folder, StoredObject

DAY = 24 * 3600.0
_ATTEMPT_DIGITS = 12


@dataclass(frozen=True)
class GcReport:
    """Garbage found: removed (or, on a dry run, to be removed) and left for being too young.

    Attempts are `<spec digest>/data/<shard>-<attempt>`. `unreadable` names the commit records that are
    damaged; whatever belongs to their shards was kept. `newer` says of which specs all was kept, because a
    newer phreg works on them: what is garbage there we cannot know.
    """

    removed: tuple[str, ...] = ()
    bytes: int = 0
    kept_young: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()

    def __add__(self, other: "GcReport") -> "GcReport":
        return GcReport(
            self.removed + other.removed,
            self.bytes + other.bytes,
            self.kept_young + other.kept_young,
            self.unreadable + other.unreadable,
            self.newer + other.newer,
        )


def collect_garbage(
    cache: Folder, grace_seconds: float = DAY, dry_run: bool = False, now: float | None = None
) -> GcReport:
    """Remove attempts that no record names and whose newest object is older than the grace period.

    The grace period must be longer than a shard's write takes, retries included. `now`: Unix seconds.
    """
    oldest_kept = (time.time() if now is None else now) - grace_seconds
    report = GcReport()
    for digest in Cache(cache).digests():
        report += garbage_of(cache, digest, oldest_kept, dry_run)
    return report


def garbage_of(cache: Folder, digest: str, oldest_kept: float, dry_run: bool) -> GcReport:
    """Of one spec: attempts whose newest object was written before `oldest_kept`, in Unix seconds, go."""
    attempts = _attempts((cache / digest).list("data"))
    try:
        named, unreadable = _named_attempts(cache / digest)
    except SpecMismatchError as error:
        return GcReport(newer=(str(error),))
    report = GcReport(unreadable=tuple(f"{digest}/shards/{shard}.json" for shard in unreadable))
    for attempt, objects in attempts.items():
        if attempt in named:
            continue
        place = f"{digest}/data/{attempt}"
        if max(item.modified for item in objects) > oldest_kept:
            report += GcReport(kept_young=(place,))
            continue
        if attempt[: -_ATTEMPT_DIGITS - 1] in unreadable or _is_committed(cache / digest, attempt):
            continue
        if not dry_run:
            cache.remove_all(place)
        report += GcReport(removed=(place,), bytes=sum(item.size for item in objects))
    if not dry_run:
        for item in (cache / digest).interrupted():
            if item.modified <= oldest_kept:
                (cache / digest).remove(item.path)
    return report


def _is_committed(store: Folder, attempt: str) -> bool:
    """Asked of the record itself, at the last moment: listings may be out of date."""
    shard = attempt[: -_ATTEMPT_DIGITS - 1]
    path = f"shards/{shard}.json"
    try:
        record = CommitRecord.from_json(store.read(path), shard, store.url_of(path))
    except ObjectNotFoundError:
        return False
    except (CorruptTargetsError, SpecMismatchError):
        return True
    return record.folder == f"data/{attempt}"


def _attempts(objects: list[StoredObject]) -> dict[str, list[StoredObject]]:
    """Objects below `data/` by the folder of their attempt."""
    attempts: dict[str, list[StoredObject]] = {}
    for item in objects:
        attempts.setdefault(item.path.split("/")[1], []).append(item)
    return attempts


def _named_attempts(store: Folder) -> tuple[set[str], list[str]]:
    """The attempts that commit records name, and the shards whose record cannot be read. Raises
    `SpecMismatchError` for a record of a newer phreg."""
    names = [name.removesuffix(".json") for name in store.children("shards") if name.endswith(".json")]

    def attempt_of(name: str) -> str | None:
        path = f"shards/{name}.json"
        try:
            record = CommitRecord.from_json(store.read(path), name, store.url_of(path))
        except CorruptTargetsError:
            return None
        return record.folder.removeprefix("data/")

    found = dict(zip(names, in_parallel(attempt_of, names), strict=True))
    return {attempt for attempt in found.values() if attempt}, [n for n, a in found.items() if a is None]
