"""The config of a run: what a user writes, checked before anything starts. Unknown keys are refused."""

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from phreg.config_file import checked, read_mapping
from phreg.errors import ConfigError, hide_credentials
from phreg.label_config import AnySet, LabelsConfig
from phreg.section import Fraction, Name, Place, PositiveFloat, ReadOut, Section
from phreg.types import HIGHER_IS_BETTER

Precision = Literal["float32", "bfloat16"]
MAX_GRID = 1000
TEACHER = "teacher"
"""Name of the teacher's row beside the students'."""
Encoding = Literal["float32", "float16", "bfloat16", "int8"]


def _one_at_most(gpus: float) -> float:
    if not 0 <= gpus <= 1:
        raise ValueError(
            f"expected 0 to 1, found {gpus:g}: each actor or worker uses one GPU, or a share of one; "
            "to use more GPUs, let there be more of them (generation.max_actors, training.workers)"
        )
    return gpus


def _or_none(registers: Any) -> Any:
    if registers == 0 and isinstance(registers, int):
        raise PydanticCustomError(
            "registers", "expected at least 1; `none` is the ablation: a student without registers"
        )
    return None if registers == "none" else registers


Gpus = Annotated[float, AfterValidator(_one_at_most)]


class TeacherConfig(Section):
    """The frozen network whose features are cleaned."""

    model: Place = Field(
        description="`timm/NAME[.TAG]`, `open_clip/NAME[:TAG]`, `local-dir:PATH` (timm's hub layout), "
        "`open_clip-dir:PATH` (open_clip's) or `phreg/small-clip`"
    )
    checkpoint: Place | None = Field(None, description="fsspec URL of weights, for networks without internet")
    image_size: PositiveInt | None = Field(
        None, description="side of the square input in pixels, a multiple of the patch; default: the model's"
    )
    read_out: ReadOut = Field("standard", description="dense features of the last block; CLIP: `naclip`")
    mean: tuple[float, float, float] | None = Field(None, description="normalisation; default: the model's")
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(None, description="see mean")
    precision: Precision = Field("float32", description="of the forward pass; part of the target spec")


class TargetConfig(Section):
    """One named way of making targets. The defaults are the paper's."""

    views: PositiveInt = Field(
        10, description="views a crop, the unshifted one included; 1 caches raw features"
    )
    max_shift: float = Field(0.15, ge=0, lt=1, description="largest shift, as a fraction of the grid's side")
    crops_per_image: PositiveInt = Field(1, description="crops cached an image")
    min_crop: float = Field(
        0.5, gt=0, le=1, description="smallest crop side as a fraction of the image's short side (largest: 1)"
    )
    encoding: Encoding = Field("float16", description="how target features are stored")


class StudentConfig(Section):
    """One student: the teacher's network with registers, distilled from one kind of targets."""

    name: Name = Field(description="of the student, in tables and in the registry; each its own")
    targets: Name = Field(description="which of the config's targets it learns from")
    registers: Annotated[PositiveInt | None, BeforeValidator(_or_none)] = Field(
        16, description="register tokens added; none: a student without any, for ablations"
    )
    unlock: tuple[str, ...] = Field(
        ("registers", "pos_embed", "patch_embed", "last_block"),
        min_length=1,
        description="parameter groups that learn, or glob patterns of timm parameter names",
    )
    read_out: Literal["standard", "value"] | None = Field(
        None, description="default: `standard`; `value` for a CLIP teacher"
    )
    learning_rate: PositiveFloat = Field(1e-4, description="AdamW, at the first step")
    final_learning_rate: PositiveFloat = Field(5e-6, description="at the last step; the decay is exponential")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW")
    clip_gradient: PositiveFloat | None = Field(
        1.0, description="largest global gradient norm; null: no clipping"
    )
    epochs: PositiveFloat = Field(1.0, description="passes over the cached crops; fractions are allowed")
    batch_size: PositiveInt = Field(16, description="crops a step and worker")
    precision: Precision = Field("float32", description="of the forward pass; weights stay float32")
    seed: int = Field(0, description="of the registers' start values and the order of samples")


class GenerationConfig(Section):
    """The pool of Ray actors that makes targets. None of it changes a target's value."""

    min_actors: PositiveInt = Field(1, description="actors without which the run does not go on")
    max_actors: PositiveInt = Field(1, description="actors the run grows to as the cluster allows")
    gpus_per_actor: Gpus = Field(0, description="up to 1; 0 runs the teacher on CPU")
    cpus_per_actor: PositiveFloat = Field(1, description="CPUs that Ray keeps free for each actor")
    images_per_forward: PositiveInt = Field(
        8, description="crops (with all views) a forward pass; CPU: always 1"
    )
    max_attempts: PositiveInt = Field(3, description="tries a shard before it is reported as failed")
    start_timeout_s: PositiveFloat = Field(300, description="seconds to wait for min_actors")
    stall_timeout_s: PositiveFloat = Field(
        3600, description="seconds without a shard read or a batch begun until an actor is taken for hung"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_actors < self.min_actors:
            raise ValueError(f"max_actors ({self.max_actors}) is below min_actors ({self.min_actors})")
        return self


class TrainingConfig(Section):
    """How Ray Train runs a student. Of it, `workers` and `shuffle_shards` change the loss curve."""

    workers: PositiveInt = Field(1, description="data-parallel workers")
    gpus_per_worker: Gpus = Field(0, description="up to 1; 0 trains on CPU")
    cpus_per_worker: PositiveFloat = Field(1, description="CPUs that Ray keeps free for each worker")
    shuffle_shards: PositiveInt = Field(4, description="shards a worker holds and shuffles together")
    checkpoint_every: PositiveInt = Field(200, description="steps between checkpoints")
    validate_every: PositiveInt = Field(200, description="steps between validations")
    start_timeout_s: PositiveFloat = Field(
        300, description="seconds to wait for room for all workers, at the start and after each failure"
    )
    max_failures: int = Field(3, ge=0, description="worker failures survived before the student is given up")
    max_skipped_steps: int = Field(
        10,
        ge=0,
        description="steps without a finite loss that are left out; one more ends the training",
    )


class EvaluationConfig(Section):
    """Label-free measures on held-out crops."""

    images: PositiveInt = Field(
        64, description="held-out images measured, from the first validation shards on"
    )
    shifts: PositiveInt = Field(8, description="patch shifts for shift consistency")
    max_shift: float = Field(
        0.15, gt=0, lt=1, description="largest of them, as a fraction of the grid's side"
    )
    figures: int = Field(4, ge=0, description="images drawn, before and after")
    targets: Name | None = Field(
        None, description="targets the cosine is measured to; default: those with the most views"
    )


class GateRule(Section):
    """One condition of promotion: `metric` must beat `against` by `margin`, in the metric's own direction."""

    metric: str = Field(description=f"one of {', '.join(HIGHER_IS_BETTER)}")
    against: Literal["teacher", "champion"] = Field(
        "teacher", description="who must be beaten; `champion`: the version that has the alias now"
    )
    margin: float = Field(0.0, description="smallest improvement; negative allows a loss of that much")

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in HIGHER_IS_BETTER:
            raise ValueError(f"no such metric; there are {', '.join(HIGHER_IS_BETTER)}")
        return value


class GateConfig(Section):
    """What a student must show to become the champion."""

    alias: Name = Field("champion", description="what the registry moves to a student that passes")
    rules: tuple[GateRule, ...] = Field(
        (
            GateRule(metric="shift_cosine_mean", against="teacher"),
            GateRule(metric="target_cosine_p50", against="teacher"),
            GateRule(metric="target_cosine_p50", against="champion"),
        ),
        description="all must hold",
    )


class RunConfig(Section):
    """A whole run. URLs are fsspec URLs; credentials and endpoints come from the environment."""

    name: Name = Field(description="name of the run and of the registered model")
    images: tuple[Place, ...] = Field(min_length=1, description="training shards: URLs, brace ranges, globs")
    validation: tuple[Place, ...] = Field(min_length=1, description="held-out shards, likewise")
    output: Place = Field(description="folder of everything the run writes")
    cache: Place | None = Field(
        None, description="target cache; default: OUTPUT/cache; share it between runs"
    )
    registry: Place | None = Field(
        None, description="registry; default: OUTPUT/registry; share it between runs"
    )
    teacher: TeacherConfig = Field(description="the network whose features are cleaned")
    targets: dict[Name, TargetConfig] = Field(min_length=1, description="named ways of making targets")
    students: tuple[StudentConfig, ...] = Field(
        min_length=1, description="a list; an item with `grid: {field: [values]}` stands for their product"
    )
    generation: GenerationConfig = Field(GenerationConfig(), description="how targets are made on Ray")
    training: TrainingConfig = Field(TrainingConfig(), description="how students are trained on Ray")
    evaluation: EvaluationConfig = Field(
        EvaluationConfig(), description="how students and teacher are measured, without labels"
    )
    labels: LabelsConfig = Field(LabelsConfig(), description="labelled sets to measure on, if there are any")
    gate: GateConfig = Field(GateConfig(), description="what promotes a student")
    max_quarantined: Fraction = Field(
        0.01,
        description="share of unusable samples of one kind of targets past which the run fails, after all "
        "shards were done; 0: not one, otherwise one is always allowed",
    )
    seed: int = Field(0, description="of crops and views")
    ray_address: Place | None = Field(
        None, description="a Ray cluster; default: RAY_ADDRESS, else a local one"
    )

    @field_validator("images", "validation", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("images", "validation")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = [place for place, count in Counter(value).items() if count > 1]
        if twice:
            raise ValueError(
                f"{hide_credentials(twice[0])[:300]} is given twice; no image counts more than others"
            )
        return value

    @field_validator("students", mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return tuple(itertools.chain.from_iterable(expand_grid(item) for item in value))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        twice = [name for name, count in Counter(s.name for s in self.students).items() if count > 1]
        if twice:
            raise ValueError(f"students share the name {twice[0]!r}; give each its own")
        for student in self.students:
            if student.name == TEACHER:
                raise ValueError(
                    f"a student cannot be called {TEACHER!r}: tables and pages show it beside one"
                )
            if student.targets not in self.targets:
                raise ValueError(
                    f"student {student.name!r} names targets {student.targets!r}, "
                    f"but the config has {sorted(self.targets)}"
                )
        if self.evaluation.targets is not None and self.evaluation.targets not in self.targets:
            raise ValueError(
                f"evaluation.targets is {self.evaluation.targets!r}, not one of {sorted(self.targets)}"
            )
        return self

    @property
    def cache_url(self) -> str:
        return self.cache or f"{self.output.rstrip('/')}/cache"

    @property
    def registry_url(self) -> str:
        return self.registry or f"{self.output.rstrip('/')}/registry"

    @property
    def reference_targets(self) -> str:
        """Name of the targets that evaluation compares with."""
        if self.evaluation.targets is not None:
            return self.evaluation.targets
        return max(sorted(self.targets), key=lambda name: self.targets[name].views)

    @property
    def used_targets(self) -> list[str]:
        """Names of the targets that some student or the evaluation needs, in the config's order."""
        needed = {student.targets for student in self.students} | {self.reference_targets}
        return [name for name in self.targets if name in needed]


def expand_grid(item: Any) -> list[Any]:
    """`{name: a, grid: {registers: [1, 4]}}` gives students `a-registers1` and `a-registers4`."""
    if not isinstance(item, dict) or "grid" not in item:
        return [item]
    grid = item["grid"]
    if not isinstance(grid, dict) or not grid or not all(isinstance(v, list) and v for v in grid.values()):
        raise ValueError("a student's grid maps fields to lists of values, for instance {registers: [4, 16]}")
    if math.prod(map(len, grid.values())) > MAX_GRID:
        raise ValueError(f"a student's grid stands for more than {MAX_GRID} students")
    fixed = {key: value for key, value in item.items() if key != "grid"}
    both = sorted(map(str, set(fixed) & set(grid)))
    if both:
        raise ValueError(f"a student gives {both[0]!r} both by itself and in its grid")
    return [
        fixed | dict(zip(grid, values, strict=True)) | {"name": _grid_name(fixed.get("name"), grid, values)}
        for values in itertools.product(*grid.values())
    ]


def _grid_name(stem: Any, fields: Iterable[str], values: Iterable[Any]) -> str:
    parts = (f"{field}{value}" for field, value in zip(fields, values, strict=True))
    name = "-".join([str(stem or "student"), *parts])
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a YAML config at a path or fsspec URL; `overrides` are `a.b=value` (YAML; list items by index).

    Relative paths in it are those of the working directory.

    Raises `ConfigError` that names the file and every field that is wrong.
    """
    data = read_mapping(path, overrides)
    if "run" in data and "teacher" not in data:
        raise ConfigError(f"{path} is the config of a table, not of a run", remedy=f"phreg table {path}")
    return with_absolute_paths(parse_config(data, f"the config {path}"))


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Local paths made absolute: a Ray worker may have another working directory."""
    teacher = config.teacher
    changes = {
        "images": tuple(map(absolute, config.images)),
        "validation": tuple(map(absolute, config.validation)),
        "output": absolute(config.output),
        "cache": config.cache and absolute(config.cache),
        "registry": config.registry and absolute(config.registry),
        "labels": _absolute_labels(config.labels),
        "teacher": teacher.model_copy(
            update={
                "model": absolute_model(teacher.model),
                "checkpoint": teacher.checkpoint and absolute(teacher.checkpoint),
            }
        ),
    }
    return config.model_copy(update=changes)


def _absolute_labels(labels: LabelsConfig) -> LabelsConfig:
    def moved(item: AnySet) -> AnySet:
        return item.model_copy(update={"root": absolute(item.root)})

    probes = (
        item.model_copy(update={"train": moved(item.train), "test": moved(item.test)})
        for item in labels.probes
    )
    changes = {
        "text": labels.text and absolute_model(labels.text),
        "sets": tuple(map(moved, labels.sets)),
        "probes": tuple(probes),
    }
    return labels.model_copy(update=changes)


def absolute_model(model: str) -> str:
    """A model's name, the path of a directory made absolute."""
    form, colon, path = model.partition(":")
    return f"{form}:{absolute(path)}" if colon and form in ("local-dir", "open_clip-dir") else model


def absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(os.path.expanduser(place))


def parse_config(data: dict[str, Any], source: str = "the config") -> RunConfig:
    """Check plain data as a config. Raises `ConfigError` with one line a wrong field."""
    return checked(RunConfig, data, source)
