"""Registering: from a student's files and measures to a version that is there as a whole, or not at all."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.fingerprint import canonical_json, digest_bytes
from phreg.registry.claim import CLAIM_FILE, claim
from phreg.registry.decision import DECISION_FILE
from phreg.registry.entry import RECORD_FILE, Entry, EntryRecord, StoredFile
from phreg.registry.names import check_file
from phreg.storage import Folder

METRICS_FILE, LINEAGE_FILE, REPORT_FILE = "metrics.json", "lineage.json", "report.html"
REQUIRED_FILES = ("config.json", "model.safetensors")
CLAIMED_FILES = (
    *REQUIRED_FILES,
    "connector.safetensors",
    "curve.jsonl",
)  # the student's own: what they are follows from the job
OWN_FILES = (RECORD_FILE, CLAIM_FILE, METRICS_FILE, LINEAGE_FILE, DECISION_FILE, REPORT_FILE)


def register(
    model: Folder, wanted: EntryRecord, files: Mapping[str, bytes], lineage: Mapping[str, Any]
) -> Entry:
    """Register `wanted`, a record without version and files, with its files, in a model's folder.

    Several may register the same student at once, and each may be interrupted: all get the one version.
    What tells the student, its weights, curve and measures, is as the claim says; of card, lineage and
    figures the first that was stored is kept. Raises `RegistryError`, before anything is written.
    """
    _check_files(wanted.student, files)
    own = {name: _stored(files[name]) for name in CLAIMED_FILES if name in files}
    claimed = claim(model, wanted.model_copy(update={"files": own}))
    folder = model / str(claimed.version)
    try:
        return _entry(folder)
    except ObjectNotFoundError:
        pass
    every = {**files, METRICS_FILE: metrics_file(claimed), LINEAGE_FILE: canonical_json(lineage)}
    fixed = {*CLAIMED_FILES, METRICS_FILE}
    stored = {
        path: _put_fixed(folder, path, data) if path in fixed else _put_first(folder, path, data)
        for path, data in every.items()
    }
    folder.create(RECORD_FILE, claimed.model_copy(update={"files": stored}).to_bytes())
    return _entry(folder)  # ours, or that of another who registers the same


def new_record(
    model: str,
    student: str,
    student_digest: str,
    metrics: Mapping[str, float],
    teacher_metrics: Mapping[str, float],
    benchmark: str,
) -> EntryRecord:
    """A record without its version and files. Refuses metrics that are not finite numbers."""
    try:
        return EntryRecord(
            model=model,
            version=0,
            student=student,
            student_digest=student_digest,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            metrics=dict(metrics),
            teacher_metrics=dict(teacher_metrics),
            benchmark=benchmark,
            files={},
        )
    except ValidationError as error:
        detail = error.errors()[0]
        raise RegistryError(
            f"The student {student!r} cannot be registered",
            expected="finite metrics",
            found=f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}",
            remedy="evaluate it again; a student that gives NaN or Inf is not worth registering",
        ) from None


def _check_files(student: str, files: Mapping[str, bytes]) -> None:
    missing = [name for name in REQUIRED_FILES if name not in files]
    taken = [name for name in OWN_FILES if name in files]
    if missing or taken:
        raise RegistryError(
            f"The files of student {student!r} do not make a registry entry",
            expected=f"{' and '.join(REQUIRED_FILES)}, and none of {', '.join(OWN_FILES)}",
            found=", ".join(sorted(files)) or "no files",
            remedy="give the files of phreg.models.hub.hub_files, and your own under other names",
        )
    for path in files:
        check_file(path)


def metrics_file(record: EntryRecord) -> bytes:
    """`metrics.json` of a version: all of it is in its record."""
    return canonical_json(
        {"student": record.metrics, "teacher": record.teacher_metrics, "benchmark": record.benchmark}
    )


def _put_fixed(folder: Folder, path: str, data: bytes) -> StoredFile:
    """Store a file that can have one content only: what differs was damaged since. It may be large, so that
    what is there already is not sent again."""
    try:
        whole = folder.read(path) == data
    except ObjectNotFoundError:
        whole = False
    if not whole:
        folder.write(path, data)
    return _stored(data)


def _put_first(folder: Folder, path: str, data: bytes) -> StoredFile:
    """Store a file, unless one is there: that is kept, of whoever was first."""
    return _stored(data if folder.create(path, data) else folder.read(path))


def _stored(data: bytes) -> StoredFile:
    return StoredFile(len(data), digest_bytes(data))


def _entry(folder: Folder) -> Entry:
    return Entry(folder, EntryRecord.from_bytes(folder.read(RECORD_FILE), folder.url_of(RECORD_FILE)))
