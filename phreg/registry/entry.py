"""One registered model version: a folder in timm's hub layout, and the record that proves it whole."""

import json
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.fingerprint import canonical_json, digest_bytes, digest_json
from phreg.registry.names import check_file
from phreg.storage import Folder

RECORD_FILE = "entry.json"
FORMAT_VERSION: Literal[1] = 1


class StoredFile(NamedTuple):
    """What a file of an entry must be: its size in bytes and its hex SHA-256."""

    size: int
    sha256: str


class EntryRecord(BaseModel):
    """`entry.json`, written last: without it the version does not exist."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format_version: Literal[1] = FORMAT_VERSION
    model: str
    version: int
    student: str
    student_digest: str
    created: str
    metrics: dict[str, float]
    teacher_metrics: dict[str, float]
    benchmark: str
    files: dict[str, StoredFile]

    @field_validator("files")
    @classmethod
    def _within(cls, files: dict[str, StoredFile]) -> dict[str, StoredFile]:
        """Paths that stay in the entry's folder. Raises `RegistryError`."""
        return {check_file(path): stored for path, stored in files.items()}

    def to_bytes(self) -> bytes:
        """Canonical JSON, with a digest of its own over everything else."""
        content = self.model_dump(mode="json")
        return canonical_json({**content, "digest": digest_json(content)})

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> "EntryRecord":
        """Raises `RegistryError` if the record was altered or is of another format."""
        try:
            stored = _StoredRecord.model_validate_json(data)
        except ValidationError as error:
            later = later_format(data)
            raise RegistryError(
                f"Cannot read the registry record {where}",
                expected=f"a record of format {FORMAT_VERSION}",
                found=str(error.errors()[0]["msg"]) if later is None else f"one of format {later}",
                remedy=_REMEDY if later is None else "read it with the newer phreg that wrote it",
            ) from None
        record = cls(**stored.model_dump(exclude={"digest"}))
        if stored.digest != digest_json(record.model_dump(mode="json")):
            raise RegistryError(
                f"The registry record {where} was altered",
                expected=f"content with digest {stored.digest}",
                found=digest_json(record.model_dump(mode="json")),
                remedy=_REMEDY,
            )
        return record


class _StoredRecord(EntryRecord):
    """A record as stored, beside its digest."""

    digest: str


def later_format(data: bytes) -> int | None:
    """The format that a record says it has, if that is later than ours."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return None
    version = fields.get("format_version") if isinstance(fields, dict) else None
    return version if type(version) is int and version > FORMAT_VERSION else None


_REMEDY = (
    "`phreg registry verify REGISTRY --heal` puts back what it can; or restore the file from a backup, or "
    "register the student again (it gets a new version)"
)


@dataclass(frozen=True)
class Entry:
    """A complete version of a model. Its `folder` loads with stock timm as `local-dir:`."""

    folder: Folder
    record: EntryRecord

    @property
    def model(self) -> str:
        return self.record.model

    @property
    def version(self) -> int:
        return self.record.version

    @property
    def metrics(self) -> dict[str, float]:
        """The student's metrics, measured on `record.benchmark`."""
        return self.record.metrics

    @property
    def url(self) -> str:
        """The entry's folder, as `phreg.load_student` and a copy to a model hub take it."""
        return self.folder.url

    def read(self, path: str) -> bytes:
        """A file of the entry, verified. Raises `RegistryError` that names an altered or missing file."""
        if path not in self.record.files:
            raise RegistryError(
                f"Version {self.version} of {self.model} has no file {path!r}",
                expected=f"one of {', '.join(sorted(self.record.files))}",
            )
        expected = self.record.files[path]
        try:
            data = self.folder.read(path)
        except ObjectNotFoundError:
            raise self._altered(path, expected, "no such object") from None
        if (len(data), digest_bytes(data)) != expected:
            raise self._altered(path, expected, f"{len(data)} bytes, sha256 {digest_bytes(data)}")
        return data

    def verify(self) -> None:
        """Read every file. Raises `RegistryError` at the first that is altered or missing."""
        for path in sorted(self.record.files):
            self.read(path)

    def _altered(self, path: str, expected: StoredFile, found: str) -> RegistryError:
        return RegistryError(
            f"{self.folder.url_of(path)} is not what was registered",
            expected=f"{expected.size} bytes, sha256 {expected.sha256}",
            found=found,
            remedy=_REMEDY,
        )
