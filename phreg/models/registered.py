"""Files of a folder that may be a registered version: then its record has their digests."""

import json
import logging
from typing import Any

from phreg.errors import AccessDeniedError, ObjectNotFoundError, RegistryError
from phreg.fingerprint import digest_bytes, digest_json
from phreg.storage import Folder

RECORD_FILE = "entry.json"
_OURS = (b'"format_version"', b'"student_digest"', b'"teacher_metrics"')

logger = logging.getLogger(__name__)


def read_as_registered(folder: Folder, name: str) -> bytes:
    """A file, checked where a registry's record lies beside it: safetensors has no checksum of its own.

    Raises `RegistryError` that names an altered file or record.
    """
    data = folder.read(name)
    record = _record(folder)
    if record is None:
        return data
    try:
        expected = _fields(record)["files"][name][1]
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        expected = f"a record with its own digest and that of {name}"
        raise _altered(folder, RECORD_FILE, expected, f"{len(record)} bytes that are none") from None
    if digest_bytes(data) != expected:
        raise _altered(folder, name, f"sha256 {expected}", f"{digest_bytes(data)} ({len(data)} bytes)")
    return data


def _record(folder: Folder) -> bytes | None:
    """The record beside a file; None where it was not registered: there is none, a public bucket or a web
    server gives something else for what is not there, or it is the record of something else."""
    try:
        record = folder.read(RECORD_FILE)
    except ObjectNotFoundError:
        return None
    except AccessDeniedError:  # for what is not there, where only reading is allowed, and not listing
        logger.info("%s cannot be read: taken as not registered", folder.shown(RECORD_FILE))
        return None
    # Two names of three: with any one of them damaged, it is still known as ours.
    return record if sum(name in record for name in _OURS) >= 2 else None


def _fields(record: bytes) -> dict[str, Any]:
    """What the record says. Raises `ValueError` if that differs from its own digest."""
    fields: dict[str, Any] = json.loads(record)
    if fields.pop("digest") != digest_json(fields):
        raise ValueError("digest")
    return fields


def _altered(folder: Folder, name: str, expected: str, found: str) -> RegistryError:
    return RegistryError(
        f"{folder.url_of(name)} is not what was registered",
        expected=expected,
        found=found,
        remedy="see `phreg registry verify REGISTRY`, which names all damaged files; --heal puts back what "
        "it can",
    )
