"""Files of a folder that may be a registered version: then its record has their digests."""

import json

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.fingerprint import digest_bytes
from phreg.storage import Folder

RECORD_FILE = "entry.json"


def read_as_registered(folder: Folder, name: str) -> bytes:
    """A file, checked where a registry's record lies beside it: safetensors has no checksum of its own.

    Raises `RegistryError` that names an altered file or record.
    """
    data = folder.read(name)
    try:
        record = folder.read(RECORD_FILE)
    except ObjectNotFoundError:
        return data
    try:
        expected = json.loads(record)["files"][name][1]
    except (ValueError, KeyError, IndexError, TypeError):
        raise _altered(folder, RECORD_FILE, "a record with the digests of its files", "none") from None
    if digest_bytes(data) != expected:
        raise _altered(folder, name, f"sha256 {expected}", f"{digest_bytes(data)} ({len(data)} bytes)")
    return data


def _altered(folder: Folder, name: str, expected: str, found: str) -> RegistryError:
    return RegistryError(
        f"{folder.url_of(name)} is not what was registered",
        expected=expected,
        found=found,
        remedy="see `phreg registry verify REGISTRY`, which names all damaged files; --heal puts back what "
        "it can",
    )
