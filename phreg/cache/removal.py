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

    Raises `CacheError` where a run seems to be making these targets: there is an attempt that is not
    committed, younger than the grace period (`now`: Unix seconds); or where a newer phreg works on them.
    Who reads them is not seen: a training fails, and its next run makes them again.
    """
    folder = cache / digest
    oldest_kept = (time.time() if now is None else now) - grace_seconds
    found = garbage_of(cache, digest, oldest_kept, dry_run=True)
    if found.kept_young or found.newer:
        raise CacheError(
            f"The targets {digest[:12]} of {cache.url} are not removed: somebody seems to work on them",
            expected=f"no attempt at a shard that is younger than {grace_seconds / HOUR:g} h",
            found=", ".join([*found.kept_young[:3], *found.newer]),
            remedy="stop that run; what it left counts no more with --grace-hours 0",
        )
    shards = [name for name in folder.children("shards") if name.endswith(".json")]
    size = sum(item.size for item in folder.list())
    if not dry_run:
        for part in ("shards", "data", "shards"):  # again: what a run we do not know of committed meanwhile
            folder.remove_all(part)
        cache.remove_all(digest)
        folder.remove(MARKER)
    return Removal(len(shards), size)
