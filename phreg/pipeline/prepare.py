"""The first stage: find what is wrong with a run before it starts, and give everything its address."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from phreg.cache import TargetSpec, TargetStore
from phreg.config.labels import Column
from phreg.config.run import RunConfig
from phreg.data import count_samples, expand_urls, shard_name
from phreg.distill.batches import check_enough
from phreg.distill.student import new_student
from phreg.errors import ConfigError, ShardError
from phreg.evaluate import ModelIdentity
from phreg.generate import target_spec
from phreg.models import Backbone, load_teacher
from phreg.models.precision import keep_float32
from phreg.pipeline.calibrate import calibrated
from phreg.pipeline.columns_present import columns_present
from phreg.progress import tell
from phreg.storage import Folder


@dataclass(frozen=True)
class Prepared:
    """Where a run's parts are. `targets` maps their names to spec digests (cache addresses).

    `columns`: labelled sets that are there; `absent`: names of those that are not. `read_outs`: by
    students' names, that under which the teacher's features compare with theirs: a student's own, or, where a
    connector leads to them, the teacher's; `starts`: of those that start from another network than the
    teacher's, its digest. What was measured is found by what the `teacher` is, and by `texts`: digests of
    what names the classes of sets.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    targets: dict[str, str]
    columns: tuple[Column, ...] = ()
    absent: tuple[str, ...] = ()
    read_outs: Mapping[str, str] = field(default_factory=dict)
    starts: Mapping[str, str] = field(default_factory=dict)
    teacher: ModelIdentity | None = None
    texts: Mapping[str, str] = field(default_factory=dict)

    def shards_for(self, config: RunConfig, name: str) -> list[str]:
        """Shards whose targets of this kind are needed: held-out ones only, if no student learns from it."""
        learned = any(student.targets == name for student in config.students)
        return [*self.train, *self.validation] if learned else list(self.validation)


def shard_urls(config: RunConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and held-out shards. Raises `ConfigError` if one is in both, or two share a name."""
    train, validation = expand_urls(config.images), expand_urls(config.validation)
    held_out = {shard_name(url): url for url in validation}
    both = [held_out[shard_name(url)] for url in train if shard_name(url) in held_out]
    if both:
        raise ConfigError(
            "Held-out shards are also training shards",
            expected="validation shards that are not under images, and have other names",
            found=", ".join(both[:3]),
            remedy="leave them out of one of the two, or rename them",
        )
    return tuple(train), tuple(validation)


def target_specs(config: RunConfig, teacher: Backbone, *, keep: bool = False) -> dict[str, TargetSpec]:
    """Of all targets that are needed, their denoisers calibrated; `keep`: also for others to find."""
    specs = {}
    for name in config.used_targets:
        target = config.targets[name]
        denoiser = calibrated(config, teacher, target.denoiser, keep=keep)
        target = target.model_copy(update={"denoiser": denoiser})
        specs[name] = target_spec(teacher, config.teacher, target, config.seed)
    return specs


def prepare(config: RunConfig) -> Prepared:
    """Check shards, teacher, students and stores; write the specs. Raises before anything is computed."""
    keep_float32("cuda" if config.generation.gpus or config.training.gpus else "cpu")
    tell("looking for the shards")
    train, validation = shard_urls(config)
    tell("looking into the first shards")
    _check_crops(config, train)
    teacher = load_teacher(config.teacher)
    read_outs, starts = {}, {}
    for student in config.students:
        tell(f"checking the student {student.name}")
        as_trained = new_student(teacher, student)
        read_outs[student.name] = as_trained.read_out
        if as_trained.start:
            starts[student.name], read_outs[student.name] = as_trained.start, config.teacher.read_out
    tell("checking the labelled sets")
    columns, absent, texts = columns_present(config, teacher)
    specs = target_specs(config, teacher, keep=True)
    cache = Folder(config.cache_url)
    for spec in specs.values():
        TargetStore.create(cache, spec)
    digests = {name: spec.digest for name, spec in specs.items()}
    identity = ModelIdentity.of(teacher)
    return Prepared(train, validation, digests, columns, absent, read_outs, starts, identity, texts)


def _check_crops(config: RunConfig, train: Sequence[str]) -> None:
    """Raise `ConfigError` if the training shards have less than a batch for each of several workers.

    Reads as many tar headers as show that it is enough: mostly one, so that a wrong folder is found too.
    """
    workers, images = config.training.workers, 0
    per_image = [config.targets[student.targets].crops_per_image for student in config.students]
    needed = max(
        math.ceil(workers * student.batch_size / crops) if workers > 1 else 1
        for student, crops in zip(config.students, per_image, strict=True)
    )
    for url in train:
        try:
            images += count_samples(url)
        except ShardError:
            return  # reported after the others were done
        if images >= needed:
            return
    for student, crops in zip(config.students, per_image, strict=True):
        check_enough(images * crops, workers, student.batch_size)
