"""`verify`: is everything that was committed still there, whole, finite, and what the teacher says?"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phreg.cache.records import CommitRecord, data_digest
from phreg.cache.rows import TargetRows
from phreg.cache.spec import TargetSpec
from phreg.cache.store import TargetStore
from phreg.errors import CorruptTargetsError, PhregError, SpecMismatchError
from phreg.progress import Progress, current_listener, heard_by
from phreg.seeding import derive_rng

Recompute = Callable[[str, list[tuple[str, int]]], Float[Tensor, "k P C"]]
"""The live teacher: (shard, [(key, crop), ...]) to targets, float32, on any device."""

TOLERANCES = {"float32": 1e-3, "float16": 2e-3, "bfloat16": 1e-2, "int8": 3e-2}
"""Relative error |target - recomputed| / |recomputed| of a row past which it is wrong, not rounded.

A target of another crop, view or model is off by 0.1 to 1.4. A float32 teacher on another device or in
another batch is off by 1e-5 to 1e-4, its own encoding by the rest.
"""
BFLOAT16_TEACHER_TOLERANCE = 5e-2  # such a teacher differs by 6e-3 between batches and devices


@dataclass
class VerifyReport:
    """What `verify` found. `problems` are (shard, problem); none of them and all is well.

    `damaged` are the shards whose stored targets are wrong, each with the attempt that was read (None: its
    record could not be), as `TargetStore.discard_damaged` takes them; a shard that is missing, a newer
    phreg's, or one that the teacher could not read, is a problem but no damage.
    `worst_cosine` (over patches) and `worst_relative_error` (over rows) are of the `sampled` rows that
    were recomputed.
    """

    shards: int = 0
    rows: int = 0
    bytes: int = 0
    sampled: int = 0
    worst_cosine: float = 1.0
    worst_relative_error: float = 0.0
    problems: list[tuple[str, str]] = field(default_factory=list)
    damaged: dict[str, str | None] = field(default_factory=dict)

    def add(self, shard: str, problem: str) -> None:
        self.problems.append((shard, problem))

    def add_damage(self, shard: str, problem: str, attempt: str | None) -> None:
        self.add(shard, problem)
        self.damaged[shard] = attempt

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(
    store: TargetStore,
    recompute: Recompute | None = None,
    samples: int = 0,
    seed: int = 0,
    shards: Iterable[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Re-read committed shards, and compare `samples` random rows with what `recompute` makes of them.

    Args:
        shards: names that must be committed; only they are looked at. Default: all that are committed.
        on_progress: called with (shards done, shards in all) after each.

    Checks sizes and digests of all objects, the CRC of all chunks, and that all features are finite.
    Damage is reported, never raised; a store that does not answer is.
    """
    names = sorted(set(shards)) if shards is not None else store.shards()
    report = VerifyReport()
    records = _committed(store, names, report)
    chosen = _choose(records, samples if recompute else 0, seed)
    tally = _ObjectTally(records)
    for done, record in enumerate(records, 1):
        with tally.reading(record, done):
            rows = _checked_rows(store, record, report)
        if recompute and rows is not None and record.shard in chosen:
            _compare(store.spec, record, rows[chosen[record.shard]], recompute, report)
        report.shards, report.rows = report.shards + 1, report.rows + record.rows
        report.bytes += record.bytes
        if on_progress:
            on_progress(done, len(records))
    return report


class _ObjectTally:
    """Tells how far the reading is: of all objects of all shards, also within one."""

    def __init__(self, records: Sequence[CommitRecord]) -> None:
        self._shards, self._before = len(records), 0
        self._total = sum(len(record.objects) for record in records)

    @contextmanager
    def reading(self, record: CommitRecord, number: int) -> Iterator[None]:
        head, before = f"shard {number} of {self._shards}", self._before
        outer = current_listener()

        def heard(within: Progress) -> None:
            if outer is not None:
                outer(replace(within, done=before + within.done, total=self._total, head=head))

        with heard_by(heard):
            yield
        self._before += len(record.objects)


def _committed(store: TargetStore, names: Sequence[str], report: VerifyReport) -> list[CommitRecord]:
    records = []
    for name in names:
        try:
            record = store.record(name)
        except CorruptTargetsError as error:
            report.add_damage(name, str(error), None)
            continue
        except SpecMismatchError as error:  # a newer phreg's: no damage
            report.add(name, str(error))
            continue
        if record is None:
            report.add(name, "no committed targets; `phreg run` makes what is missing")
        else:
            records.append(record)
    return records


def _checked_rows(store: TargetStore, record: CommitRecord, report: VerifyReport) -> TargetRows | None:
    """The rows of a commit, or nothing if they are damaged, which is then in the report."""
    try:
        rows = store.read_committed(record)
    except CorruptTargetsError as error:
        report.add_damage(record.shard, str(error), record.attempt)
        return None
    if record.data_digest != data_digest(record.objects):
        report.add_damage(record.shard, "its record's data digest is another", record.attempt)
        return None
    if bad := rows.features.non_finite_rows():
        problem = f"the target of {_place(rows, bad[0])} is NaN or Inf"
        report.add_damage(record.shard, problem, record.attempt)
        return None
    return rows


def _place(rows: TargetRows, row: int) -> str:
    return f"{rows.keys[row]!r}, crop {rows.crops[row]}"


def _choose(records: Sequence[CommitRecord], samples: int, seed: int) -> dict[str, list[int]]:
    """Random rows by shard, drawn from all rows alike, without repetition."""
    ends = np.cumsum([record.rows for record in records], dtype=np.int64)
    total = int(ends[-1]) if records else 0
    rng = derive_rng(seed, "verify")
    drawn = rng.choice(total, size=min(samples, total), replace=False).tolist() if total else []
    chosen: dict[str, list[int]] = {}
    for number in sorted(drawn):
        shard = int(np.searchsorted(ends, number, side="right"))
        chosen.setdefault(records[shard].shard, []).append(number - int(ends[shard]) + records[shard].rows)
    return chosen


def _compare(
    spec: TargetSpec, record: CommitRecord, rows: TargetRows, recompute: Recompute, report: VerifyReport
) -> None:
    """Compare rows of a commit with what the teacher makes of their crops now."""
    shard, attempt = record.shard, record.attempt
    try:
        live = recompute(shard, list(rows.index)).detach().to("cpu", torch.float32)
    except PhregError as error:
        report.add(shard, f"its targets cannot be recomputed: {error}")
        return
    if live.shape != rows.features.shape:
        found = f"{list(live.shape)} instead of {list(rows.features.shape)}"
        report.add_damage(shard, f"the teacher makes targets of another shape, {found}", attempt)
        return
    tolerance = TOLERANCES[spec.encoding]
    if spec.precision == "bfloat16":
        tolerance = max(tolerance, BFLOAT16_TEACHER_TOLERANCE)
    for row, (target, truth) in enumerate(zip(rows.features.decode(), live, strict=True)):
        off = float((target - truth).norm() / truth.norm().clamp_min(1e-12))
        cosine = float(torch.cosine_similarity(target, truth, dim=-1).min())
        report.sampled += 1
        report.worst_relative_error = max(report.worst_relative_error, off)
        report.worst_cosine = min(report.worst_cosine, cosine)
        if not off <= tolerance:
            problem = f"the target of {_place(rows, row)} is off by {off:.2g} of its size"
            problem += f" from what the teacher makes now (allowed: {tolerance:g})"
            report.add_damage(shard, problem, attempt)
