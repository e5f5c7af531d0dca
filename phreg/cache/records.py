"""The commit record of a shard's targets. Its presence is the only proof that they are complete."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, NonNegativeInt, StringConstraints, ValidationError

from phreg.errors import CacheError, CorruptTargetsError, SpecMismatchError
from phreg.fingerprint import digest_bytes, digest_json
from phreg.storage.checksummed import from_checksummed_json, to_checksummed_json
from phreg.types import Quarantined

FORMAT_VERSION = 1
MAX_NAME_BYTES = 220  # with the attempt it must fit a file system's 255
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ObjectPath = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$")]
"""Below an attempt's folder, and nowhere else."""

Json = bytes  # `bytes` itself is a field's name below


class ObjectDigest(NamedTuple):
    """Size in bytes and SHA-256 of a stored object."""

    size: NonNegativeInt
    sha256: Sha256

    @classmethod
    def of(cls, data: bytes) -> Self:
        return cls(len(data), digest_bytes(data))


class CommitRecord(BaseModel):
    """What one attempt wrote for one shard. `objects` are paths below `data/<shard>-<attempt>/`; their
    digests together are `data_digest`, the same for equal targets, whoever made them.

    `source` is the `version_of` the shard when it was read, where its store told one: while it stays the
    same, the content need not be read to know that it has `shard_digest`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    shard: str
    shard_digest: str
    attempt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
    rows: NonNegativeInt
    quarantined: tuple[Quarantined, ...]
    bytes: NonNegativeInt
    objects: dict[ObjectPath, ObjectDigest]
    data_digest: Sha256
    created: str
    source: str | None = None

    @property
    def folder(self) -> str:
        """Where the objects lie, below the spec's folder."""
        return attempt_folder(self.shard, self.attempt)

    @classmethod
    def of(
        cls,
        shard: str,
        attempt: str,
        shard_digest: str,
        rows: int,
        quarantined: Sequence[Quarantined],
        objects: Mapping[str, ObjectDigest],
        source: str | None = None,
    ) -> Self:
        """The record of an attempt that wrote these objects."""
        return cls(
            shard=shard,
            shard_digest=shard_digest,
            attempt=attempt,
            rows=rows,
            quarantined=tuple(quarantined),
            bytes=sum(item.size for item in objects.values()),
            objects=dict(sorted(objects.items())),
            data_digest=data_digest(objects),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            source=source,
        )

    def to_json(self) -> Json:
        """Canonical JSON with a checksum of its own."""
        return to_checksummed_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, data: Json, shard: str, url: str) -> Self:
        """Raises `CorruptTargetsError` unless this is a whole record of this shard, and
        `SpecMismatchError` if it is a whole one of a later format, which no one here may touch."""
        try:
            fields = from_checksummed_json(data)
            _refuse_later(fields, url)
            record = cls.model_validate(fields)
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(str(part) for part in detail["loc"])
            raise _corrupt_record(url, f"{where}: {detail['msg']}") from None
        except ValueError as error:
            raise _corrupt_record(url, f"{len(data)} bytes: {error}") from None
        if record.shard != shard:
            raise _corrupt_record(url, f"the record of another shard, {record.shard!r}")
        return record


def data_digest(objects: Mapping[str, ObjectDigest]) -> str:
    """Of a shard's objects together: equal rows give equal objects, and so equal digests."""
    return digest_json({path: item.sha256 for path, item in objects.items()})


def attempt_folder(shard: str, attempt: str) -> str:
    """Where an attempt's objects lie, below the spec's folder."""
    return f"data/{shard}-{attempt}"


def check_shard_name(name: str) -> str:
    """The name, if it can be a part of a path. Raises `CacheError`."""
    plain = name.isprintable() and not {"/", "\\"} & set(name) and not name.startswith(".")
    if not name or not plain or len(name.encode()) > MAX_NAME_BYTES:
        raise CacheError(
            f"The shard name {name[:200]!r} cannot be used in paths",
            expected=f"printable characters without / or \\, no leading dot, at most {MAX_NAME_BYTES} bytes",
            remedy="rename the shard",
        )
    return name


def make_anew(record_url: str) -> str:
    """The remedy for targets that cannot be trusted."""
    return (
        f"remove the commit record {record_url} (`phreg cache verify CACHE --heal` does it for all damaged "
        "ones), then run again: this shard alone is made anew"
    )


def _refuse_later(fields: Mapping[str, Any], url: str) -> None:
    version = fields.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        raise SpecMismatchError(
            f"The commit record {url} was written by a newer phreg",
            expected=f"a record of format {FORMAT_VERSION}",
            found=f"one of format {version}",
            remedy="read it with the newer phreg that wrote it; it was left as it is",
        )


def _corrupt_record(url: str, found: str) -> CorruptTargetsError:
    return CorruptTargetsError(
        f"The commit record {url} is damaged",
        expected="the record as it was written",
        found=found,
        remedy=make_anew(url),
    )
