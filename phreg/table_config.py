"""The config of a table: methods as rows; labelled data sets, measured two ways, as columns."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import Field, PositiveInt, StringConstraints, model_validator

from phreg.config import (
    RunConfig,
    absolute,
    absolute_model,
    apply_overrides,
    checked,
    read_mapping,
    with_absolute_paths,
)
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

AnySet = TypeVar("AnySet", bound=LabelledSetConfig)


class TeacherRow(Section):
    """A method that trains nothing: the teacher under a read-out, its features averaged over views or not."""

    name: Annotated[str, StringConstraints(pattern=r"^[^|\x00-\x1f]{1,80}$")]
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
    label_free: bool = Field(
        False, description="also the run's own measures: shift consistency, cosine to the targets, outliers"
    )
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

    def seeded(self, seed: int) -> RunConfig:
        """The run of one seed: of crops and views, of registers and the order of samples."""
        students = tuple(student.model_copy(update={"seed": seed}) for student in self.run.students)
        return self.run.model_copy(update={"seed": seed, "students": students})


def load_table(path: str | Path, overrides: Iterable[str] = ()) -> TableConfig:
    """Read a table's YAML config, as `load_config` reads a run's. Raises `ConfigError`.

    `run` may also be the path of a run's config, relative to the table's.
    """
    data = read_mapping(path)
    run = data.get("run")
    if isinstance(run, str):
        data["run"] = read_mapping(run if "://" in run else os.path.join(os.path.dirname(path), run))
    apply_overrides(data, overrides)
    table = checked(TableConfig, data, f"the config {path}")
    return table.model_copy(
        update={
            "run": with_absolute_paths(table.run),
            "text": table.text and absolute_model(table.text),
            "sets": tuple(_absolute(item) for item in table.sets),
            "probes": tuple(
                item.model_copy(update={"train": _absolute(item.train), "test": _absolute(item.test)})
                for item in table.probes
            ),
        }
    )


def _absolute(item: AnySet) -> AnySet:
    return item.model_copy(update={"root": absolute(item.root)})
