"""The config of a table: methods as rows; labelled data sets, measured two ways, as columns."""

from collections import Counter
from typing import Self

from pydantic import Field, PositiveInt, model_validator

from phreg.config import RunConfig
from phreg.label_config import (
    LabelledSetConfig,
    ProbeColumn,
    ProbeConfig,
    SegmentationConfig,
    SetColumn,
    SetKind,
)
from phreg.section import Name, ReadOut, Section

__all__ = [
    "LabelledSetConfig",
    "ProbeColumn",
    "ProbeConfig",
    "SegmentationConfig",
    "SetColumn",
    "SetKind",
    "TableConfig",
    "TeacherRow",
]


class TeacherRow(Section):
    """A method that trains nothing: the teacher under a read-out, its features averaged over views or not."""

    name: Name
    read_out: ReadOut
    views: PositiveInt = Field(1, description="1: one pass; more: the denoised teacher, so many passes")
    max_shift: float = Field(0.15, ge=0, lt=1, description="as for targets")


class TableConfig(Section):
    """A table: the run that makes its students, its other rows, and its columns.

    Students and targets are made once a seed, `seed` and every student's `seed` set to it; what several
    tables share (targets, students, scores) is found in the run's cache and output and used again.
    """

    name: Name = Field(description="of the table's files")
    title: str = Field("", description="a line above the table")
    run: RunConfig
    text: str | None = Field(
        None, description="model whose text tower names the classes; default: the teacher's model"
    )
    teacher_rows: tuple[TeacherRow, ...] = Field((), description="rows before the students'")
    sets: tuple[SetColumn, ...] = ()
    probes: tuple[ProbeColumn, ...] = ()
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="mean and spread are over these")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for what, items in (
            ("rows", [*self.teacher_rows, *self.run.students]),
            ("columns", [*self.sets, *self.probes]),
            ("seeds", self.seeds),
        ):
            names = [getattr(item, "name", item) for item in items]
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f"two {what} are {twice[0]!r}; give each its own")
        return self
