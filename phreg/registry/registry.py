"""The registry: numbered versions of models in one folder of object storage.

    <model>/<version>/claim.json      the number is taken, for this student, by whoever created this first
    <model>/<version>/...             timm's hub layout, metrics, lineage, curve, card, figures
    <model>/<version>/entry.json      written last: sizes and digests of all of it
    <model>/<version>/decision.json   what the gate said about it, afterwards
    <model>/<version>/report.html     the report page, and in report/ its sections: made from all of it

A version without `entry.json` was interrupted: readers do not see it. Registering the same student again
goes on in it; nobody else uses its number.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from phreg.errors import ObjectNotFoundError, RegistryError
from phreg.registry import decision as decisions
from phreg.registry import promotion as promotions
from phreg.registry import registration
from phreg.registry.decision import Decision
from phreg.registry.entry import RECORD_FILE, Entry, EntryRecord
from phreg.registry.gate import Verdict
from phreg.registry.names import as_version, check_alias, check_model
from phreg.registry.promotion import Promotion
from phreg.storage import Folder

_RECORD_PATH = re.compile(rf"(?P<model>[^/]+)/(?P<version>\d+)/{re.escape(RECORD_FILE)}")


class Registry:
    """Registered models under one folder. Holds nothing in memory: other processes' writes are seen."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def register(
        self,
        model: str,
        files: Mapping[str, bytes],
        *,
        student: str,
        student_digest: str,
        metrics: Mapping[str, float],
        teacher_metrics: Mapping[str, float],
        lineage: Mapping[str, Any],
        benchmark: str = "",
    ) -> Entry:
        """Store a student as the model's next version, or finish the version in which that was begun.

        `files` are timm's hub files and whatever else belongs to it (`README.md`, `curve.jsonl`,
        `figures/*.png`); `metrics.json` and `lineage.json` are made here. `student_digest` is the identity
        of the student job, by which `find` finds it again; `benchmark` is what its metrics were measured
        on. The same weights of the same job, measured on the same, have one version. Nothing is written
        unless all of it can be. Raises `RegistryError`.
        """
        record = registration.new_record(
            check_model(model), student, student_digest, metrics, teacher_metrics, benchmark
        )
        return registration.register(self._of(model), record, files, lineage)

    def models(self) -> list[str]:
        """Names of the models with at least one complete version, sorted."""
        return sorted({name for name, _ in self.versions()})

    def entries(self, model: str | None = None) -> list[Entry]:
        """Complete versions of one model or of all, by model and version."""
        return [self.read(name, version) for name, version in self.versions(model)]

    def entry(self, model: str, which: int | str) -> Entry:
        """A version by its number or alias. Raises `RegistryError` that says what there is instead."""
        version = as_version(which)
        if version is None:
            held = promotions.current(self._of(model), check_alias(str(which)))
            if held is None:
                known = sorted(self.aliases(model))
                raise RegistryError(
                    f"The model {model} has no alias {str(which)!r} in {self.folder.url}",
                    expected=f"one of {', '.join(known)}" if known else "an alias given by a promotion",
                    remedy="see `phreg registry list`",
                )
            version = held.version
        try:
            return self.read(model, version)
        except ObjectNotFoundError:
            known_versions = [number for _, number in self.versions(model)]
            raise RegistryError(
                f"The model {model} has no complete version {version} in {self.folder.url}",
                expected=f"one of {known_versions}" if known_versions else "a registered model",
                remedy="see `phreg registry list`",
            ) from None

    def read(self, model: str, version: int) -> Entry:
        """A complete version. Raises `ObjectNotFoundError`, and `RegistryError` for a damaged record."""
        folder = self._of(model) / str(version)
        record = EntryRecord.from_bytes(folder.read(RECORD_FILE), folder.url_of(RECORD_FILE))
        if (record.model, record.version) != (model, version):
            raise RegistryError(
                f"The record {folder.url_of(RECORD_FILE)} is in the wrong folder",
                expected=f"version {version} of {model}",
                found=f"version {record.version} of {record.model}",
                remedy="move the folder back to its place",
            )
        return Entry(folder, record)

    def find(self, model: str, student_digest: str) -> Entry | None:
        """The newest version made by this very student job, if it is registered already."""
        for name, version in reversed(self.versions(model)):
            with contextlib.suppress(RegistryError):  # a damaged version must not keep others from being made
                entry = self.read(name, version)
                if entry.record.student_digest == student_digest:
                    return entry
        return None

    def promote(self, model: str, version: int, alias: str, reason: str) -> Promotion:
        """Point an alias at a complete version and add it to the history. Raises `RegistryError`."""
        check_alias(alias)
        return promotions.promote(self._of(model), alias, self.entry(model, version).version, reason)

    def decide(self, entry: Entry, alias: str, judge: Callable[[Entry | None], Verdict]) -> Decision:
        """The gate's decision on an entry: the one on record, or else that of `judge`, which is recorded.

        `judge` is given the entry that holds the alias, if another does. The alias is pointed at the entry
        if it was promoted; should a third get the alias meanwhile, `judge` is asked again.
        """

        def against(held: Promotion | None) -> Verdict:
            return judge(None if held is None else self.entry(entry.model, held.version))

        return decisions.decide(self._of(entry.model), entry.version, check_alias(alias), against)

    def decision(self, entry: Entry) -> Decision | None:
        """What the gate said about an entry; None if it is still to decide."""
        return decisions.decision_on(self._of(entry.model), entry.version)

    def alias(self, model: str, alias: str) -> Promotion | None:
        """The promotion in force for an alias, None if nothing holds it."""
        return promotions.current(self._of(model), alias)

    def aliases(self, model: str) -> dict[str, Promotion]:
        """All aliases of a model with the promotions in force."""
        return promotions.aliases(self._of(model))

    def history(self, model: str) -> tuple[Promotion, ...]:
        """All promotions of a model, oldest first."""
        return promotions.history(self._of(model))

    def _of(self, model: str) -> Folder:
        return self.folder / check_model(model)

    def versions(self, model: str | None = None) -> list[tuple[str, int]]:
        """Models and numbers of the complete versions of one model or of all, sorted; none is read."""
        listed = self.folder.list(check_model(model) if model is not None else "")
        matches = (_RECORD_PATH.fullmatch(item.path) for item in listed)
        return sorted((match["model"], int(match["version"])) for match in matches if match)
