"""Which number a registration has: `<model>/<version>/claim.json`, created once and never changed.

A claim says what its version is to be: the record, checksummed, with the digests of the files by which the
student is told. Whoever registers the same goes on in that version, after an interruption or at the same
time; so a student has one version, however often its registration is begun.
"""

import itertools
import re
from functools import partial

from phreg.cache.parallel import in_parallel
from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.registry.entry import RECORD_FILE, Entry, EntryRecord
from phreg.registry.store import check_store
from phreg.storage import Folder

CLAIM_FILE = "claim.json"
_IN_VERSION = re.compile(r"(?P<version>[1-9]\d*)/.+")


def claim(model: Folder, wanted: EntryRecord) -> EntryRecord:
    """The claim on the version in which to register: one of the same student, else a new one of our own.

    Every number below the next is looked up by itself, so that a listing may be out of date. Passed over
    are claims of others, and versions that were registered and then damaged. Raises
    `PermanentStorageError` where a claim could be taken twice.
    """
    numbers = [int(match["version"]) for item in model.list() if (match := _IN_VERSION.fullmatch(item.path))]
    newest = max(numbers, default=0)
    for there in in_parallel(partial(_claimed, model), range(1, newest + 1)):
        if there is not None and _goes_on(model, there, wanted):
            return there
    check_store(model)
    for version in itertools.count(newest + 1):
        own = wanted.model_copy(update={"version": version})
        there = own if model.create(f"{version}/{CLAIM_FILE}", own.to_bytes()) else _claimed(model, version)
        if there is not None and _goes_on(model, there, wanted):
            return there
    raise AssertionError("unreachable")


def _claimed(model: Folder, version: int) -> EntryRecord | None:
    """The claim on a version; None if there is none, or none to go on with (a damaged or an old one)."""
    path = f"{version}/{CLAIM_FILE}"
    try:
        there = EntryRecord.from_bytes(model.read(path), model.url_of(path))
    except (ObjectNotFoundError, RegistryError):
        return None
    return there if there.version == version else None


def _goes_on(model: Folder, there: EntryRecord, wanted: EntryRecord) -> bool:
    """Whether this is the version for it. Measures may differ in their last bits: the claim's are taken."""
    same = (there.model, there.student_digest, there.benchmark, there.files) == (
        wanted.model, wanted.student_digest, wanted.benchmark, wanted.files
    )  # fmt: skip
    return same and not _damaged(model / str(there.version))


def _damaged(folder: Folder) -> bool:
    """Whether this was registered and is not whole any more; what is not complete yet can be mended."""
    try:
        Entry(folder, EntryRecord.from_bytes(folder.read(RECORD_FILE), folder.url_of(RECORD_FILE))).verify()
    except ObjectNotFoundError:
        return False
    except RegistryError:
        return True
    return False
