"""A cache as its user sees it: which target specs it holds, and how much of each."""

import re
from dataclasses import dataclass
from typing import Any

from phreg.cache.parallel import in_parallel
from phreg.cache.spec import TargetSpec
from phreg.cache.store import TargetStore
from phreg.errors import CacheError, MissingTargetsError
from phreg.storage import Folder

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class SpecSummary:
    """A row of `phreg cache list`: one spec and what is committed; `problem` is empty if all is well."""

    digest: str
    spec: TargetSpec | None
    shards: int
    rows: int
    quarantined: int
    bytes: int
    problem: str


@dataclass(frozen=True)
class Cache:
    """A folder of target stores, one a spec."""

    folder: Folder

    def digests(self) -> list[str]:
        """Digests of the specs that are there, sorted; none in a cache that is not there yet."""
        return [name for name in self.folder.children() if _DIGEST.fullmatch(name)]

    def specs(self) -> dict[str, TargetSpec]:
        """All specs by digest. Raises `SpecMismatchError` if one was altered."""
        digests = self.digests()
        stores = in_parallel(lambda digest: TargetStore.open(self.folder, digest), digests)
        return {store.digest: store.spec for store in stores}

    def store(self, digest: str) -> TargetStore:
        """The store of a spec, by its digest or an unambiguous beginning of it."""
        return TargetStore.open(self.folder, self.digest_of(digest))

    def digest_of(self, digest: str) -> str:
        """The whole digest of a spec that is there. Raises `MissingTargetsError`, and `CacheError` for the
        beginning of several."""
        there = self.digests()
        found = [name for name in there if name.startswith(digest)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise MissingTargetsError(
                f"The cache {self.folder.url} has no targets with spec {digest}",
                expected=", ".join(name[:12] for name in there) or "some targets in it",
                found="" if there else "none, or no cache there",
                remedy="check the cache's URL and `phreg cache list`, or make the targets (`phreg run`)",
            )
        raise CacheError(
            f"{digest!r} begins several spec digests of {self.folder.url}",
            expected="more of its digits",
            found=", ".join(name[:12] for name in found),
        )

    def summaries(self) -> list[SpecSummary]:
        """What is committed for each spec, from specs and commit records alone."""
        return [self._summary(digest) for digest in self.digests()]

    def _summary(self, digest: str) -> SpecSummary:
        try:
            store = TargetStore.open(self.folder, digest)
        except CacheError as error:
            return SpecSummary(digest, None, 0, 0, 0, 0, str(error))
        try:
            records = store.records().values()
        except CacheError as error:
            return SpecSummary(digest, store.spec, 0, 0, 0, 0, str(error))
        return SpecSummary(
            digest,
            store.spec,
            len(records),
            sum(record.rows for record in records),
            sum(len(record.quarantined) for record in records),
            sum(record.bytes for record in records),
            "",
        )


def open_cache(uri: str, **storage_options: Any) -> Cache:
    """The target cache at a path or fsspec URL. Options go to fsspec; better give them in the environment."""
    return Cache(Folder(uri, storage_options))
