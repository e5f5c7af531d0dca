"""`verify`: is all that is registered as it was written? What is damaged is named, and healed if it can be.

| damaged | healed by |
| --- | --- |
| a file of a version | the same content, known by its digest, from the student's folder in OUTPUT |
| `entry.json` | removing it: its config's next run completes the version again, under the same number |
| `decision.json` | removing it: the next run decides again |
| an alias, a promotion | each from the other: an alias is a copy of its last promotion |

Report pages are not looked at: they are made from the rest. Nor are claims: once a version is complete,
they say nothing that its record does not.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.fingerprint import digest_bytes
from phreg.registry import decision as decisions
from phreg.registry import promotion as promotions
from phreg.registry.decision import DECISION_FILE
from phreg.registry.entry import RECORD_FILE, Entry, EntryRecord
from phreg.registry.registry import Registry
from phreg.storage import Folder

_VERSION = re.compile(r"([1-9]\d*)/.+")

Mend = Callable[[], str]
"""Tries to heal a damage; says what it did, nothing if it could not."""


@dataclass(frozen=True)
class Damage:
    """A damaged object: where, what is wrong with it, and how it was healed (empty: it was not)."""

    url: str
    problem: str
    healed: str = ""


def verify(
    registry: Registry, students: Folder, model: str | None = None, heal: bool = False
) -> Iterator[Damage]:
    """All damages, as they are found. `students`: where the runs left theirs, OUTPUT/students."""
    for name in registry.folder.children() if model is None else [model]:
        for damage, mend in _damages(registry.folder / name, students):
            yield replace(damage, healed=mend()) if heal else damage


def _damages(model: Folder, students: Folder) -> Iterator[tuple[Damage, Mend]]:
    paths = [item.path for item in model.list()]
    for version in sorted({int(match[1]) for path in paths if (match := _VERSION.fullmatch(path))}):
        yield from _of_version(model / str(version), students)
        yield from _of_decision(model, version)
    yield from _of_aliases(model)


def _of_version(folder: Folder, students: Folder) -> Iterator[tuple[Damage, Mend]]:
    try:
        record = EntryRecord.from_bytes(folder.read(RECORD_FILE), folder.url_of(RECORD_FILE))
    except ObjectNotFoundError:
        return  # its registration was interrupted: nobody reads it
    except RegistryError as error:
        then = "run its config again to complete the version"
        yield Damage(folder.url_of(RECORD_FILE), str(error)), partial(_remove, folder, RECORD_FILE, then)
        return
    entry = Entry(folder, record)
    for path in sorted(record.files):
        try:
            entry.read(path)
        except RegistryError as error:
            yield Damage(folder.url_of(path), str(error)), partial(_restore, entry, path, students)


def _of_decision(model: Folder, version: int) -> Iterator[tuple[Damage, Mend]]:
    path = f"{version}/{DECISION_FILE}"
    try:
        decisions.recorded(model, version)
    except RegistryError as error:
        yield (
            Damage(model.url_of(path), str(error)),
            partial(_remove, model, path, "the next run decides again"),
        )


def _of_aliases(model: Folder) -> Iterator[tuple[Damage, Mend]]:
    for path, problem in promotions.damaged(model).items():
        yield Damage(model.url_of(path), problem), partial(_recopy, model, path)


def _remove(folder: Folder, path: str, then: str) -> str:
    folder.remove(path)
    return f"removed; {then}"


def _restore(entry: Entry, path: str, students: Folder) -> str:
    """Put a file back from its student's folder, if that has the very content."""
    source = students / entry.record.student_digest
    for candidate in (f"model/{path}", path):
        try:
            data = source.read(candidate)
        except ObjectNotFoundError:
            continue
        if (len(data), digest_bytes(data)) == entry.record.files[path]:
            entry.folder.write(path, data)
            return f"put back from {source.url_of(candidate)}"
    return ""


def _recopy(model: Folder, path: str) -> str:
    return "put back from its copy" if promotions.mend(model, path) else ""
