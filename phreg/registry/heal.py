"""Damaged objects of a registry, put back: each function says what it did, or nothing if it could not."""

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.fingerprint import digest_bytes
from phreg.registry import promotion as promotions
from phreg.registry.claim import CLAIM_FILE
from phreg.registry.entry import RECORD_FILE, Entry, EntryRecord, StoredFile, later_format
from phreg.registry.names import check_file
from phreg.registry.registration import LINEAGE_FILE, METRICS_FILE, OWN_FILES, REQUIRED_FILES, metrics_file
from phreg.storage import Folder


def remove(folder: Folder, path: str, then: str) -> str:
    folder.remove(path)
    return f"removed; {then}"


def restore(entry: Entry, path: str, students: Folder) -> str:
    """Put a file back: from the record, or from its student's folder, if that has the very content."""
    if path == METRICS_FILE and _put(entry, path, metrics_file(entry.record)):
        return f"put back from {RECORD_FILE}"
    source = students / entry.record.student_digest
    for candidate in (f"model/{path}", path):
        try:
            data = source.read(candidate)
        except ObjectNotFoundError:
            continue
        if _put(entry, path, data):
            return f"put back from {source.shown(candidate)}"
    return ""


def rebuild(folder: Folder) -> str:
    """`entry.json` anew, from the claim and the files; only if all that the claim tells of is as it says.

    A record of a later format is left as it is.
    """
    try:
        claim = EntryRecord.from_bytes(folder.read(CLAIM_FILE), folder.url_of(CLAIM_FILE))
        if later_format(folder.read(RECORD_FILE)) is not None or not _is_of(claim, folder):
            return ""
        stored = {path: _digest(folder.read(path)) for path in _paths(folder, claim)}
    except (ObjectNotFoundError, RegistryError):
        return ""
    metrics = metrics_file(claim)
    if not set(claim.files.items()) <= set(stored.items()) or stored[METRICS_FILE] != _digest(metrics):
        return ""
    folder.write(RECORD_FILE, claim.model_copy(update={"files": stored}).to_bytes())
    return f"made again from {CLAIM_FILE} and the files"


def recopy(model: Folder, path: str) -> str:
    return "put back from its copy" if promotions.mend(model, path) else ""


def _put(entry: Entry, path: str, data: bytes) -> bool:
    if _digest(data) != entry.record.files[path]:
        return False
    entry.folder.write(path, data)
    return True


def _is_of(claim: EntryRecord, folder: Folder) -> bool:
    """Whether a claim is on this very version. A whole one names the files by which the student is told."""
    place = folder.url.rstrip("/").split("/")[-2:]
    return [claim.model, str(claim.version)] == place and set(REQUIRED_FILES) <= set(claim.files)


def _paths(folder: Folder, claim: EntryRecord) -> set[str]:
    """What a version has: the files that are there but for those made after it, and those that must be."""
    made_here = {*OWN_FILES} - {METRICS_FILE, LINEAGE_FILE}
    listed = {item.path for item in folder.list() if not item.path.startswith("report/")}
    return {check_file(path) for path in listed - made_here} | {*claim.files, METRICS_FILE, LINEAGE_FILE}


def _digest(data: bytes) -> StoredFile:
    return StoredFile(len(data), digest_bytes(data))
