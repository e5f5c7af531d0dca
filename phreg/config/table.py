"""The config of a table: a run's students and other methods as rows, the run's labelled sets as columns."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from phreg.config.denoised_section import DenoisedSection
from phreg.config.labels import check_names
from phreg.config.model import ConfigModel, Name, ReadOut
from phreg.config.reading import apply_overrides, checked, read_mapping
from phreg.config.run import RunConfig, with_absolute_paths
from phreg.errors import ConfigError


class TeacherRow(DenoisedSection):
    """A method that trains nothing: the teacher under a read-out, in one pass or denoised, as for targets.

    `{views: 10}` averages over ten views; without `method` and `views` it is one pass.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[^|\x00-\x1f]{1,80}$")] = Field(
        description="of the row; any text without |"
    )
    read_out: ReadOut = Field(description="dense features of the last block, as the teacher's in a run")

    @classmethod
    def without_method(cls) -> Mapping[str, Any]:
        return {"views": 1}


class TableConfig(ConfigModel):
    """A table: the run that makes its students and names its labelled sets, and its other rows.

    Students and targets are made once per seed, `seed` and every student's `seed` set to it; what several
    tables share (targets, students, scores) is found in the run's cache and output and used again.
    """

    name: Name = Field(description="of the table's files")
    title: str = Field("", description="a line above the table")
    run: RunConfig = Field(description="a run's config, or the path of one, relative to the table's")
    teacher_rows: tuple[TeacherRow, ...] = Field((), description="rows before the students'")
    label_free: bool = Field(
        False, description="also the run's own measures: shift consistency, cosine to the targets, artifacts"
    )
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="mean and spread are over these")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        rows = [row.name for row in self.teacher_rows] + [row.name for row in self.run.students]
        check_names("rows", rows)
        check_names("seeds", [str(seed) for seed in self.seeds])
        if not (self.run.labels.sets or self.run.labels.probes or self.label_free):
            raise ValueError("a table without columns; name sets or probes under run.labels, or label_free")
        return self

    def seeded(self, seed: int) -> RunConfig:
        """The run of one seed: of crops and views, of registers and the order of samples."""
        students = tuple(student.model_copy(update={"seed": seed}) for student in self.run.students)
        return self.run.model_copy(update={"seed": seed, "students": students})


def load_table(path: str | Path, overrides: Iterable[str] = ()) -> TableConfig:
    """Read a table's YAML config, as `load_config` reads a run's. Raises `ConfigError`."""
    data = read_mapping(path)
    if "run" not in data and "teacher" in data:
        raise ConfigError(
            f"{path} is the config of a run, not of a table",
            expected="a table's, which names a run's: `run: PATH`, and rows beside its students",
            remedy=f"phreg run {path}; `phreg table --help` shows a table's config",
        )
    run = data.get("run")
    if isinstance(run, str):
        data["run"] = read_mapping(run if "://" in run else os.path.join(os.path.dirname(path), run))
    apply_overrides(data, overrides)
    table = checked(TableConfig, data, f"the config {path}", "table")
    return table.model_copy(update={"run": with_absolute_paths(table.run)})
