"""`TargetStore`: the targets of one spec, committed and read a shard at a time.

<cache>/<spec digest>/spec.json
                      data/<shard>-<attempt>/    written first, never changed
                      shards/<shard>.json        written last, by create: the commit
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from phreg.cache.parallel import in_parallel
from phreg.cache.records import CommitRecord, ObjectDigest, check_shard_name, make_anew
from phreg.cache.rows import TargetRows
from phreg.cache.spec import TargetSpec, differing_fields
from phreg.cache.writer import ShardWriter, check_fits
from phreg.cache.zarr_group import rows_from_objects
from phreg.errors import (
    CacheError,
    ContentMismatchError,
    CorruptTargetsError,
    MissingTargetsError,
    ObjectNotFoundError,
    SpecMismatchError,
)
from phreg.progress import tell
from phreg.storage import Folder
from phreg.types import Damage, Quarantined

COMMIT_ATTEMPTS = 3  # more than one only if the winner's record is discarded at the same moment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TargetStore:
    """Targets made with one spec. Cheap to make and to pickle; safe for many readers and writers."""

    cache: Folder
    spec: TargetSpec

    @classmethod
    def create(cls, cache: Folder, spec: TargetSpec) -> "TargetStore":
        """Open the store of this spec, made if need be.

        A `spec.json` that was damaged or altered is put right, and the log says so: the folder's name
        is the digest of its content, so it can only be this.
        """
        store = cls(cache, spec)
        if not store.folder.create("spec.json", spec.to_json()):
            there = store.folder.read("spec.json")
            if there != spec.to_json():
                found = "; ".join(differing_fields(there, spec)) or "other bytes that mean the same"
                logger.warning("%s was altered (%s): put right", store.folder.shown("spec.json"), found)
                store.folder.write("spec.json", spec.to_json())
        return store

    @classmethod
    def open(cls, cache: Folder, digest: str) -> "TargetStore":
        """Open a store by its spec's digest. Raises `MissingTargetsError`, `SpecMismatchError`."""
        folder = cache / digest
        try:
            data = folder.read("spec.json")
        except ObjectNotFoundError:
            raise MissingTargetsError(
                f"The cache {cache.url} has no targets with spec {digest}",
                expected=folder.url_of("spec.json"),
                remedy="check the cache's URL, or make the targets first (`phreg run`)",
            ) from None
        return cls(cache, TargetSpec.from_json(data, digest, folder.url_of("spec.json")))

    @property
    def digest(self) -> str:
        return self.spec.digest

    @property
    def folder(self) -> Folder:
        return self.cache / self.digest

    def shards(self) -> list[str]:
        """Names of the committed shards, sorted; no record is read."""
        names = self.folder.children("shards")
        return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))

    def record(self, name: str) -> CommitRecord | None:
        """A shard's commit record, if it has one. Raises `CorruptTargetsError`, and `SpecMismatchError` for a
        newer phreg's."""
        path = _record_path(name)
        try:
            data = self.folder.read(path)
        except ObjectNotFoundError:
            return None
        try:
            return CommitRecord.from_json(data, name, self.folder.url_of(path))
        except CorruptTargetsError as error:
            error.damage = Damage(self.digest, name, None)
            raise

    def records(self, names: Sequence[str] | None = None) -> dict[str, CommitRecord]:
        """Commit records by shard name: those of `names` that are there; by default of all shards, sorted."""
        names = self.shards() if names is None else names
        found = zip(names, in_parallel(self.record, names), strict=True)
        return {name: record for name, record in found if record is not None}

    def check_content(self, name: str, shard_digest: str) -> CommitRecord | None:
        """The record of a shard with this content, if it is committed; `ContentMismatchError` for another."""
        record = self.record(name)
        if record is not None and record.shard_digest != shard_digest:
            raise ContentMismatchError(
                f"The shard {name!r} is not the one whose targets are in {self.folder.url}",
                expected=f"content with digest {record.shard_digest}, committed {record.created}",
                found=f"content with digest {shard_digest}",
                remedy="give the changed shard a new name; or, if the old content is of no more use, "
                + f"remove {self.folder.url_of(_record_path(name))} and run again",
            )
        return record

    def writer(self, name: str) -> ShardWriter:
        """For a shard's targets, some rows at a time; `commit_written` ends it."""
        return ShardWriter(self.folder, name, self.spec)

    def commit(
        self,
        name: str,
        shard_digest: str,
        rows: TargetRows,
        quarantined: Sequence[Quarantined] = (),
        source: str | None = None,
    ) -> CommitRecord:
        """Write a shard's targets, all at once, and commit them as `commit_written` does.

        Raises also `CacheError` if the rows do not fit the spec, and `NonFiniteError` unless they all decode
        to finite features (whoever encoded them).
        """
        check_fits(rows, self.spec)
        if (winner := self.check_content(name, shard_digest)) is not None:
            return winner
        with self.writer(name) as writer:
            writer.add(rows)
            return self.commit_written(writer, name, shard_digest, quarantined, source)

    def commit_written(
        self,
        writer: ShardWriter,
        name: str,
        shard_digest: str,
        quarantined: Sequence[Quarantined] = (),
        source: str | None = None,
    ) -> CommitRecord:
        """Commit what was written. Of many writers one wins; all get the winner's record.

        `source` as in `CommitRecord`. Raises `ContentMismatchError` if another content is committed under
        the name, and `StorageError`; what was committed before stays.
        """
        record = writer.finish(shard_digest, quarantined, source)
        for _ in range(COMMIT_ATTEMPTS):
            if self.folder.create(_record_path(name), record.to_json()):
                return record
            if (winner := self.check_content(name, shard_digest)) is not None:
                return winner
        raise CacheError(
            f"The targets of the shard {name!r} could not be committed",
            found="commit records that came and went at the same time",
            remedy="let only one of `phreg cache verify` and a run work on the cache, then run again",
        )

    def read(self, name: str, shard_digest: str | None = None) -> TargetRows:
        """A shard's targets, every byte checked against the commit record.

        Raises `MissingTargetsError`, `CorruptTargetsError`, and `ContentMismatchError` if `shard_digest` is
        given and differs.
        """
        record = self.record(name) if shard_digest is None else self.check_content(name, shard_digest)
        if record is None:
            missing = MissingTargetsError(
                f"The shard {name!r} has no committed targets in {self.folder.url}",
                expected=_record_path(name),
                remedy="make them first: `phreg run` makes what is missing",
            )
            missing.damage = Damage(self.digest, name, None)
            raise missing
        return self.read_committed(record)

    def read_committed(self, record: CommitRecord) -> TargetRows:
        """The targets that a commit record names, checked. Raises `CorruptTargetsError`."""
        fetched = in_parallel(
            lambda path: self._read_object(record, path),
            record.objects,
            lambda done: tell("reading", done, len(record.objects), "objects"),
        )
        try:
            rows = rows_from_objects(dict(zip(record.objects, fetched, strict=True)))
            check_fits(rows, self.spec)
        except Exception as error:  # whatever Zarr makes of a group that was not written by us
            raise self._unreadable(record, f"a group that cannot be read: {error}") from error
        if len(rows) != record.rows:
            raise self._unreadable(record, f"{len(rows)} rows instead of {record.rows}")
        return rows

    def discard(self, name: str) -> None:
        """Forget a shard's targets: its record goes, the next run makes it anew, `gc` removes the data."""
        self.folder.remove(_record_path(name))

    def discard_damaged(self, name: str, attempt: str | None) -> bool:
        """Discard what was found damaged: this attempt, or a record that cannot be read (None). False if
        the shard was made anew, be it by a newer phreg, or discarded, since."""
        try:
            record = self.record(name)
        except CorruptTargetsError:
            there = None
        except SpecMismatchError:
            return False
        else:
            if record is None:
                return False
            there = record.attempt
        if there == attempt:
            self.discard(name)
        return there == attempt

    def _read_object(self, record: CommitRecord, path: str) -> bytes:
        expected = record.objects[path]
        place = f"{record.folder}/{path}"
        try:
            data = self.folder.read(place)
        except ObjectNotFoundError:
            raise self._corrupt(record, place, "nothing") from None
        found = ObjectDigest.of(data)
        if found != expected:
            raise self._corrupt(
                record,
                place,
                f"{found.size} bytes with SHA-256 {found.sha256[:16]}...",
                f"{expected.size} bytes with SHA-256 {expected.sha256[:16]}...",
            )
        return data

    def _unreadable(self, record: CommitRecord, found: str) -> CorruptTargetsError:
        """All digests match: the bytes are as written, and it may be this machine that cannot read them. So
        it is not `damage`, which a run would discard."""
        error = self._corrupt(record, record.folder, found)
        error.damage = None
        return error

    def _corrupt(
        self, record: CommitRecord, place: str, found: str, expected: str = ""
    ) -> CorruptTargetsError:
        error = CorruptTargetsError(
            f"{self.folder.url_of(place)} is not what was committed",
            expected=expected or "the content that the commit record lists",
            found=found,
            remedy=make_anew(self.folder.url_of(_record_path(record.shard))),
        )
        error.damage = Damage(self.digest, record.shard, record.attempt)
        return error


def _record_path(name: str) -> str:
    return f"shards/{check_shard_name(name)}.json"
