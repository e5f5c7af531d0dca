"""`verify`: is all that is registered as it was written? What is damaged is named, and healed if it can be.

| damaged | healed by |
| --- | --- |
| a file of a version | the same content, known by its digest, from the student's folder in OUTPUT |
| `metrics.json` | its version's record, which has all of it |
| `entry.json` | the version's claim and files, if these are what was claimed; else it is left where it is |
| `decision.json` | removing it: the next run decides again |
| an alias, a promotion | each from the other: an alias is a copy of its last promotion |

Report pages are not looked at: they are made from the rest. Nor are claims: once a version is complete,
they say nothing that its record does not.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.progress import tell
from phreg.registry import decision as decisions
from phreg.registry import heal
from phreg.registry import promotion as promotions
from phreg.registry.decision import DECISION_FILE
from phreg.registry.entry import RECORD_FILE, Entry
from phreg.registry.names import check_model
from phreg.registry.registry import Registry
from phreg.storage import Folder

_VERSION = re.compile(r"([1-9]\d{0,8})/.+")

Mend = Callable[[], str]
"""Tries to heal a damage; says what it did, nothing if it could not."""


@dataclass(frozen=True)
class Damage:
    """A damaged object: where, what is wrong with it, and how it was healed (empty: it was not)."""

    url: str
    problem: str
    healed: str = ""


@dataclass
class Verification:
    """What was read, and what of it was damaged."""

    versions: int = 0
    files: int = 0
    damages: list[Damage] = field(default_factory=list)


def verify(
    registry: Registry, students: Folder, model: str | None = None, heal: bool = False
) -> Verification:
    """Read all versions of all models, or of one. `students`: where the runs left theirs, OUTPUT/students."""
    check = _Check(registry, students, heal)
    for name in registry.folder.children() if model is None else [check_model(model)]:
        check.model(name)
    return check.done


@dataclass
class _Check:
    registry: Registry
    students: Folder
    heal: bool
    done: Verification = field(default_factory=Verification)

    def model(self, name: str) -> None:
        model = self.registry.folder / name
        paths = [item.path for item in model.list()]
        for version in sorted({int(match[1]) for path in paths if (match := _VERSION.fullmatch(path))}):
            self._version(name, version)
            self._decision(model, version)
        for path, problem in promotions.damaged(model).items():
            self._found(model.url_of(path), problem, partial(heal.recopy, model, path))
        for alias in promotions.names(model):
            self._alias(name, alias)

    def _version(self, name: str, version: int) -> None:
        folder = self.registry.folder / name / str(version)
        try:
            entry = self.registry.read(name, version)
        except ObjectNotFoundError:
            return  # its registration was interrupted: nobody reads it
        except RegistryError as error:
            self.done.versions += 1
            if self._found(folder.url_of(RECORD_FILE), str(error), partial(heal.rebuild, folder)):
                self._files(self.registry.read(name, version))
            return
        self.done.versions += 1
        self._files(entry)

    def _files(self, entry: Entry) -> None:
        for path in sorted(entry.record.files):
            self.done.files += 1
            tell(f"reading {entry.model} {entry.version}: {path}", self.done.files, things="files")
            try:
                entry.read(path)
            except RegistryError as error:
                mend = partial(heal.restore, entry, path, self.students)
                self._found(entry.folder.url_of(path), str(error), mend)

    def _decision(self, model: Folder, version: int) -> None:
        path = f"{version}/{DECISION_FILE}"
        try:
            decisions.recorded(model, version)
        except RegistryError as error:
            mend = partial(heal.remove, model, path, "the next run decides again")
            self._found(model.url_of(path), str(error), mend)

    def _alias(self, name: str, alias: str) -> None:
        """Whether what it points at can be read. Damage of the alias itself was named before."""
        try:
            held = self.registry.alias(name, alias)
        except RegistryError:
            return
        if held is None:
            return
        try:
            self.registry.entry(name, held.version)
        except RegistryError as error:
            problem = f"The alias {alias} of {name} points at version {held.version}, which cannot be read\n"
            url = (self.registry.folder / name).url_of(f"aliases/{alias}.json")
            self._found(url, f"{problem}  {error}\n  or promote another version", lambda: "")

    def _found(self, url: str, problem: str, mend: Mend) -> str:
        damage = Damage(url, problem)
        damage = replace(damage, healed=mend()) if self.heal else damage
        self.done.damages.append(damage)
        return damage.healed
