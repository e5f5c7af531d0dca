"""What each part of the method is worth: whole students that differ from one in one thing.

That one, `BASE`, has 16 registers, the paper's unlocked groups, and `naclip` targets over ten views that are
shifted by up to 15 %; like all of them it is read, and was trained, as `value`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.real.differences import Comparison, write_differences
from benchmarks.real.measure import measure
from benchmarks.real.students import whole_student
from benchmarks.real.tables import results, write_tables
from benchmarks.real.work import Work
from phreg.distill.job import StudentJob
from phreg.distill.trainer import train_student
from phreg.models import Student, load_student
from phreg.storage import Folder

FOLDER = "ablation"
BASE, NO_REGISTERS, RAW = "16 registers", "no registers", "raw targets"


class Variant(NamedTuple):
    """What of a student, and of its targets, is not as the base has it. Seeds are those of the student."""

    name: str
    seed: int = 0
    student: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    targets: dict[str, Any] = {}  # noqa: RUF012

    @property
    def title(self) -> str:
        return f"{self.name}, seed {self.seed}"

    @property
    def method(self) -> str:
        return f"{self.title}, read value"


def _thrice(seed: int) -> list[Variant]:
    return [
        Variant(BASE, seed),
        Variant(NO_REGISTERS, seed, {"registers": "none"}),
        Variant(RAW, seed, {}, {"views": 1}),
    ]


VARIANTS = (  # what matters most first: a night may end early
    *_thrice(0),
    Variant("unlocked: registers, last block", student={"unlock": ["registers", "last_block"]}),
    *_thrice(1)[:2],
    Variant("unlocked: registers alone", student={"unlock": ["registers"]}),
    Variant("unlocked: everything", student={"unlock": ["*"]}),
    *_thrice(1)[2:],
    *_thrice(2),
    Variant("unlocked: registers, lora", student={"unlock": ["registers", "lora"]}),
    Variant("4 registers", student={"registers": 4}),
    Variant("1 register", student={"registers": 1}),
    Variant("2 views", targets={"views": 2}),
    Variant("int8 targets", targets={"encoding": "int8"}),
    Variant("shifts to 30 %", targets={"max_shift": 0.30}),
    Variant("20 views", targets={"views": 20}),
    Variant("shifts to 5 %", targets={"max_shift": 0.05}),
    Variant("5 views", targets={"views": 5}),
)


def comparisons() -> list[Comparison]:
    """Each with the base of its seed, and what is there thrice with the base of all seeds."""
    alone = [_over_base([variant]) for variant in VARIANTS if variant.name != BASE]
    thrice = [_over_base([v for v in VARIANTS if v.name == name]) for name in (NO_REGISTERS, RAW)]
    titles = ("teacher", *(variant.title for variant in VARIANTS[:2]))
    rounded = [
        Comparison(f"{t}, int8", f"{t}, float32", {"": (f"{t}, int8, read value", f"{t}, read value")})
        for t in titles
    ]
    own, base = (f"{variant.title}, int8" for variant in (VARIANTS[1], VARIANTS[0]))
    rounded.append(Comparison(own, base, {"": (f"{own}, read value", f"{base}, read value")}))
    return alone + thrice + rounded


def _over_base(variants: Sequence[Variant]) -> Comparison:
    pairs = {str(v.seed): (v.method, Variant(BASE, v.seed).method) for v in variants}
    return Comparison(variants[0].name, BASE, pairs)


def ablate(work: Work, count: int | None = None) -> None:
    """All of them, or only so many."""
    out = work.out / FOLDER
    for read_out in ("value", "naclip"):
        for bench in work.benches:
            measure(f"teacher, read {read_out}", work.trunk.read(read_out), bench, out)
    for variant in VARIANTS[:count]:
        whole_student(variant.title, job(work, variant), ("value",), work.benches, out)
        write(work)


def write(work: Work) -> None:
    rows = results(work.benches, work.out / FOLDER)
    write_tables(rows, work.out / FOLDER)
    write_differences(comparisons(), rows, work.out / f"{FOLDER}-differences.csv")


def job(work: Work, variant: Variant) -> StudentJob:
    """Its targets are there, or made."""
    digest = work.targets(("naclip",), **variant.targets)["naclip"]
    return work.job(digest, {"seed": variant.seed, **variant.student})


def student(work: Work, variant: Variant) -> Student:
    """Trained, or found."""
    return load_student(f"{train_student(job(work, variant), Folder(str(work.out / FOLDER))).url}/model")
