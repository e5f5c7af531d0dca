"""Removing the targets of one spec: the records first, so that half of them are never taken for whole."""

import time
from dataclasses import dataclass

from phreg.cache.garbage import garbage_of
from phreg.errors import CacheError
from phreg.storage import Folder
from phreg.storage.creation import MARKER

HOUR = 3600.0


@dataclass(frozen=True)
class Removal:
    """What was removed, or would be: committed shards, and the bytes of all that the spec has."""

    shards: int
    bytes: int


def remove_spec(
    cache: Folder, digest: str, grace_seconds: float = HOUR, dry_run: bool = False, now: float | None = None
) -> Removal:
    """Remove all of a spec. Interrupted, it is finished by removing it again.

    Raises `CacheError` where a run seems to be making these targets: the spec, a commit record, or an
    attempt that is not committed is younger than the grace period (`now`: Unix seconds; 0: records count
    no more); or where a newer phreg works on them.
    Who reads them is not seen: a training fails, and its next run makes them again.
    """
    folder = cache / digest
    oldest_kept = (time.time() if now is None else now) - grace_seconds
    found = garbage_of(cache, digest, oldest_kept, dry_run=True)
    items = folder.list()  # after the attempts: one that was committed meanwhile has a young record
    young = list(found.kept_young)
    if grace_seconds:
        records = (item for item in items if not item.path.startswith("data/"))
        young += [f"{digest}/{item.path}" for item in records if item.modified > oldest_kept]
    if young or found.newer:
        raise CacheError(
            f"The targets {digest[:12]} of {cache.url} are not removed: somebody seems to work on them",
            expected=f"no attempt at a shard and no record that is younger than {grace_seconds / HOUR:g} h",
            found=", ".join([*young[:3], *found.newer]),
            remedy="stop that run, if there is one; what is there counts no more with --grace-hours 0",
        )
    shards = [name for name in folder.children("shards") if name.endswith(".json")]
    size = sum(item.size for item in items)
    if not dry_run:
        for part in ("shards", "data", "shards"):  # again: what a run we do not know of committed meanwhile
            folder.remove_all(part)
        cache.remove_all(digest)
        folder.remove(MARKER)
    return Removal(len(shards), size)
