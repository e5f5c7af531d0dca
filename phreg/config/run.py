"""The config of a run: what a user writes, checked before anything starts. Unknown keys are refused."""

import copy
import itertools
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import Field, field_validator, model_validator

from phreg.config.gate import GateConfig, GateRule, check_rules
from phreg.config.labels import AnySet, LabelsConfig, SetColumn, is_embedding_file
from phreg.config.model import (
    Address,
    ConfigModel,
    Device,
    DeviceName,
    Fraction,
    Name,
    PathOrUrl,
    Pattern,
    also,
    model_folder,
)
from phreg.config.reading import apply_overrides, check_no_secrets, checked, read_mapping
from phreg.config.stages import (
    EvaluationConfig,
    GenerationConfig,
    PricesConfig,
    StudentConfig,
    TargetConfig,
    TeacherConfig,
    TrainingConfig,
    precision_on,
)
from phreg.errors import ConfigError, hide_credentials
from phreg.storage.foreign import check_pattern

__all__ = [
    "TEACHER",
    "EvaluationConfig",
    "GateConfig",
    "GateRule",
    "GenerationConfig",
    "RunConfig",
    "StudentConfig",
    "TargetConfig",
    "TeacherConfig",
    "TrainingConfig",
    "absolute_model",
    "dump_config",
    "expand_grid",
    "load_config",
    "parse_config",
    "read_run",
    "with_absolute_paths",
]

MAX_GRID = 1000
AnyNetwork = TypeVar("AnyNetwork", TeacherConfig, StudentConfig)
TEACHER = "teacher"
"""Name of the teacher's row beside the students'."""


def _or_grids(schema: dict[str, Any]) -> None:
    fields = StudentConfig.model_json_schema()["properties"]
    lists = {name: {"type": "array", "items": field, "minItems": 1} for name, field in fields.items()}
    grid = {"type": "object", "properties": lists, "additionalProperties": False, "minProperties": 1}
    beside = {"properties": {**fields, "grid": {}}, "additionalProperties": False}
    several = {
        "type": "object",
        "properties": {"grid": grid},
        "required": ["grid"],
        "dependentSchemas": {"grid": beside},  # no mistakes of its own in a student without one
    }
    schema["items"] = {"anyOf": [schema["items"], several]}


class RunConfig(ConfigModel):
    """A whole run. URLs are fsspec URLs; credentials and endpoints come from the environment."""

    name: Name = Field(description="name of the run and of the registered model")
    images: tuple[Pattern, ...] = Field(
        min_length=1,
        description="training shards: URLs, brace ranges, globs",
        json_schema_extra=also({"type": "string"}),
    )
    validation: tuple[Pattern, ...] = Field(
        min_length=1, description="held-out shards, likewise", json_schema_extra=also({"type": "string"})
    )
    output: PathOrUrl = Field(description="folder of everything the run writes")
    cache: PathOrUrl | None = Field(
        None, description="target cache; default: OUTPUT/cache; share it between runs"
    )
    registry: PathOrUrl | None = Field(
        None, description="registry; default: OUTPUT/registry; share it between runs"
    )
    teacher: TeacherConfig = Field(description="the network whose features are cleaned")
    targets: dict[Name, TargetConfig] = Field(min_length=1, description="named ways of making targets")
    students: tuple[StudentConfig, ...] = Field(
        min_length=1,
        description="a list; an item with `grid: {field: [values]}` stands for their product",
        json_schema_extra=_or_grids,
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
    prices: PricesConfig = Field(PricesConfig(), description="what a plan tells costs from")
    seed: int = Field(0, description="of crops and views")
    device: DeviceName = Field(
        "auto", description="`cpu`, `cuda`, or `auto`: a GPU if the machine or the Ray cluster has one"
    )
    ray_address: Address | None = Field(
        None, description="a Ray cluster; default: RAY_ADDRESS, else a local one"
    )

    @field_validator("images", "validation", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, str):
            check_pattern(value)  # here, because several of them may stand on several lines
            return (value,)
        return value

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
            if student.weigh_by_certainty and not self.targets[student.targets].variance:
                raise ValueError(
                    f"student {student.name!r} has weigh_by_certainty, and its targets {student.targets!r} "
                    "do not say how sure they are; give these `variance: true` (they are made anew)"
                )
        check_rules(self.gate, [s.name for s in self.labels.sets], [p.name for p in self.labels.probes])
        for option, gpus in self._gpus.items():
            if gpus is not None and self.device == ("cpu" if gpus else "cuda"):
                raise ValueError(
                    f"device is {self.device!r}, but {option} is {gpus:g}; leave one of the two out"
                )
        if self.evaluation.targets is not None and self.evaluation.targets not in self.targets:
            raise ValueError(
                f"evaluation.targets is {self.evaluation.targets!r}, not one of {sorted(self.targets)}"
            )
        return self

    @property
    def _gpus(self) -> dict[str, float | None]:
        return {
            "generation.gpus_per_actor": self.generation.gpus_per_actor,
            "training.gpus_per_worker": self.training.gpus_per_worker,
        }

    @property
    def wanted_device(self) -> Device:
        """`device`, where numbers of GPUs do not say it already."""
        asked = self._gpus.values()
        if any(asked):
            return "cuda"
        return "cpu" if None not in asked else self.device

    def on(self, device: str) -> Self:
        """The config for a run on `cpu` or `cuda`: with a number of GPUs for each actor and worker, and each
        `precision` as it is there."""
        one = 1.0 if device == "cuda" else 0.0
        generation, training = self.generation, self.training
        if generation.gpus_per_actor is None:
            generation = generation.model_copy(update={"gpus_per_actor": one})
        if training.gpus_per_worker is None:
            training = training.model_copy(update={"gpus_per_worker": one})
        changes: dict[str, Any] = {"generation": generation, "training": training}
        precision = precision_on(self.teacher.precision, generation.gpus)
        changes["teacher"] = self.teacher.model_copy(update={"precision": precision})
        changes["students"] = tuple(
            student.model_copy(update={"precision": precision_on(student.precision, training.gpus)})
            for student in self.students
        )
        return self.model_copy(update=changes)

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
        made_by = {name: self.targets[name].denoiser for name in sorted(self.targets)}
        return max(made_by, key=lambda name: (made_by[name].forward_passes, not made_by[name].is_one_pass))

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


def read_run(
    url: str, overrides: Iterable[str] = (), settings: dict[str, Any] | RunConfig | None = None
) -> RunConfig:
    """A config by its URL, or by its fields, as a form gives them: then the URL is not looked at.

    Fields may carry no credentials. Raises `ConfigError`."""
    if settings is None:
        if not url:
            raise ConfigError(
                "No config is given", expected="`config`, its path or URL, or its fields as `settings`"
            )
        return load_config(url, overrides)
    if isinstance(settings, RunConfig):
        settings = settings.model_dump(mode="json", exclude_unset=True)
    check_no_secrets(json.dumps(settings, default=str), what="The settings")
    apply_overrides(data := copy.deepcopy(settings), overrides)
    return with_absolute_paths(parse_config(data, "the settings"))


def dump_config(config: RunConfig) -> bytes:
    """The YAML of a config: read again, it is the same one."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True), sort_keys=False).encode()


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Local paths made absolute: a Ray worker may have another working directory."""
    changes = {
        "images": tuple(map(absolute, config.images)),
        "validation": tuple(map(absolute, config.validation)),
        "output": absolute(config.output),
        "cache": config.cache and absolute(config.cache),
        "registry": config.registry and absolute(config.registry),
        "labels": _absolute_labels(config.labels),
        "teacher": _absolute_network(config.teacher),
        "students": tuple(map(_absolute_network, config.students)),
    }
    return config.model_copy(update=changes)


def _absolute_network(network: AnyNetwork) -> AnyNetwork:
    if network.model is None:
        return network
    places = {
        "model": absolute_model(network.model),
        "checkpoint": network.checkpoint and absolute(network.checkpoint),
    }
    return network.model_copy(update=places)


def _absolute_labels(labels: LabelsConfig) -> LabelsConfig:
    def moved(item: AnySet) -> AnySet:
        text = {"text": item.text and absolute_text(item.text)} if isinstance(item, SetColumn) else {}
        return item.model_copy(update={"root": absolute(item.root), **text})

    probes = (
        item.model_copy(update={"train": moved(item.train), "test": moved(item.test)})
        for item in labels.probes
    )
    changes = {
        "text": labels.text and absolute_text(labels.text),
        "sets": tuple(map(moved, labels.sets)),
        "probes": tuple(probes),
    }
    return labels.model_copy(update=changes)


def absolute_model(model: str) -> str:
    """A model's name, the path of a directory made absolute."""
    path = model_folder(model)
    return model if path is None else f"{model.removesuffix(path)}{absolute(path)}"


def absolute_text(place: str) -> str:
    """A model's name, or the path of a file of class embeddings made absolute."""
    return absolute(place) if is_embedding_file(place) else absolute_model(place)


def absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(os.path.expanduser(place))


def parse_config(data: dict[str, Any], source: str = "the config") -> RunConfig:
    """Check plain data as a config. Raises `ConfigError` with one line a wrong field."""
    return checked(RunConfig, data, source)
