"""What a run would do, in images, forward passes, FLOPs, bytes and objects; and what is there already."""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from phreg.cache import TargetSpec, TargetStore, estimated_bytes, estimated_objects
from phreg.config.run import RunConfig, StudentConfig
from phreg.data import ShardSize, measure_shard, shard_name
from phreg.distill.batches import BatchPlan
from phreg.distill.memory import memory_of_data
from phreg.distill.result import finished_report
from phreg.distill.student import new_student
from phreg.errors import CacheError, MissingTargetsError, ObjectNotFoundError
from phreg.method.denoising import denoiser_of
from phreg.models import Backbone, load_teacher
from phreg.pipeline.columns_present import absent_roots
from phreg.pipeline.prepare import Prepared, shard_urls, target_specs
from phreg.pipeline.rates import known_rate
from phreg.pipeline.students import student_job
from phreg.storage import Folder

READERS = 8
BACKWARD_COST = 2  # a backward pass costs about two forward passes


@dataclass(frozen=True)
class TargetsPlan:
    """One kind of targets, denoised `by` a method. `forward_passes` counts views, `fitting_steps` those of an
    optimiser where something is fitted to each crop; `flops` are of both. Sizes are of what is still to be
    made, but for `whole_bytes`: those of all of them.

    `seconds`: how long `max_actors` take for it at the rate of an earlier run; None if there was none.
    `gpu_hours`: the hours that they hold GPUs for.
    """

    name: str
    by: str
    digest: str
    shards: int
    shards_done: int
    images: int
    forward_passes: int
    fitting_steps: int
    flops: float
    cache_bytes: int
    objects: int
    whole_bytes: int
    seconds: float | None = None
    gpu_hours: float | None = None


@dataclass(frozen=True)
class StudentPlan:
    """One student. `memory_bytes`: what each worker holds of images and targets at most, beside the student.
    `done`: it is finished, and would be reused. `seconds`, `gpu_hours` as for targets; a student that is not
    begun is taken to be as fast as the last one of this teacher."""

    name: str
    steps: int
    crops: int
    flops: float
    memory_bytes: int
    done: bool
    seconds: float | None = None
    gpu_hours: float | None = None


@dataclass(frozen=True)
class Plan:
    """`absent`: labelled sets whose folders are not there, with the folders; a run leaves them out."""

    targets: tuple[TargetsPlan, ...]
    students: tuple[StudentPlan, ...]
    absent: tuple[str, ...] = ()


def make_plan(config: RunConfig, on_progress: Callable[[int, int], None] = lambda done, total: None) -> Plan:
    """Plan a run without doing any of it; nothing is written. Reads the shards' tar headers.

    `on_progress` is told (shards counted, shards in all).
    """
    train, validation = shard_urls(config)
    teacher = load_teacher(config.teacher)
    specs = target_specs(config, teacher)
    prepared = Prepared(train, validation, {name: spec.digest for name, spec in specs.items()})
    sizes = _measure([*train, *validation], on_progress)
    flops = flops_of(teacher)
    return Plan(
        targets=tuple(_plan_targets(config, prepared, name, specs[name], sizes, flops) for name in specs),
        students=tuple(
            _plan_student(config, prepared, student, specs[student.targets], teacher, sizes)
            for student in config.students
        ),
        absent=absent_roots(config),
    )


def _measure(urls: Sequence[str], on_progress: Callable[[int, int], None]) -> dict[str, ShardSize]:
    """Of each shard; many headers are read at a time, since each costs a round trip."""
    sizes = {}
    with ThreadPoolExecutor(READERS, "phreg-plan") as readers:
        for url, size in zip(urls, readers.map(measure_shard, urls), strict=True):
            sizes[url] = size
            on_progress(len(sizes), len(urls))
    return sizes


def flops_of(model: Backbone) -> float:
    """FLOPs of one forward pass at the model's own size (counted by torch, on the meta device)."""
    shadow = copy.deepcopy(model).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(torch.empty(1, 3, *model.image_size, device="meta"))
    return float(counter.get_total_flops())


def _plan_targets(
    config: RunConfig,
    prepared: Prepared,
    name: str,
    spec: TargetSpec,
    sizes: dict[str, ShardSize],
    flops: float,
) -> TargetsPlan:
    urls = prepared.shards_for(config, name)
    done = set(_committed(config, spec.digest))
    missing = [url for url in urls if shard_name(url) not in done]
    images = [sizes[url].samples for url in missing]
    rows = [count * spec.crops_per_image for count in images]
    passes, generation = sum(rows) * spec.denoised_by.forward_passes, config.generation
    fitting = denoiser_of(spec.denoised_by).fitting_flops(spec.dim, spec.patches)
    rate = known_rate(Folder(config.output), "targets", spec, generation.gpus)
    actors = min(generation.max_actors, max(len(missing), 1))
    seconds = passes / (rate * actors) if rate else None
    return TargetsPlan(
        name=name,
        by=spec.denoised_by.title,
        digest=spec.digest,
        shards=len(urls),
        shards_done=len(urls) - len(missing),
        images=sum(images),
        forward_passes=passes,
        fitting_steps=sum(rows) * spec.denoised_by.fitting_steps,
        flops=passes * flops + sum(rows) * fitting,
        cache_bytes=sum(estimated_bytes(spec, count) for count in rows),
        objects=sum(estimated_objects(spec, count) for count in rows),
        whole_bytes=sum(estimated_bytes(spec, sizes[url].samples * spec.crops_per_image) for url in urls),
        seconds=seconds,
        gpu_hours=_gpu_hours(seconds, actors * generation.gpus),
    )


def _committed(config: RunConfig, digest: str) -> list[str]:
    try:
        return TargetStore.open(Folder(config.cache_url), digest).shards()
    except (MissingTargetsError, ObjectNotFoundError):
        return []


def _plan_student(
    config: RunConfig,
    prepared: Prepared,
    student: StudentConfig,
    spec: TargetSpec,
    teacher: Backbone,
    sizes: dict[str, ShardSize],
) -> StudentPlan:
    batches = BatchPlan(
        rows=tuple(sizes[url].samples * spec.crops_per_image for url in prepared.train),
        workers=config.training.workers,
        batch_size=student.batch_size,
        shuffle_shards=config.training.shuffle_shards,
        epochs=student.epochs,
        seed=student.seed,
    )
    crops = batches.total_steps * batches.rows_per_batch * batches.workers
    at_start = new_student(teacher, student)
    prepared = replace(prepared, starts={student.name: at_start.start})
    done, workers = _is_done(config, prepared, student), config.training.workers
    rate = known_rate(Folder(config.output), "students", spec, config.training.gpus)
    seconds = 0.0 if done else crops / (rate * workers) if rate else None
    return StudentPlan(
        name=student.name,
        steps=batches.total_steps,
        crops=crops,
        flops=crops * (1 + BACKWARD_COST) * flops_of(at_start),
        memory_bytes=memory_of_data(
            batches,
            spec,
            [sizes[url].image_bytes for url in prepared.train],
            min(
                sum(sizes[url].samples for url in prepared.validation) * spec.crops_per_image,
                config.training.validation_crops,
            ),
        ),
        done=done,
        seconds=seconds,
        gpu_hours=_gpu_hours(seconds, workers * config.training.gpus),
    )


def _gpu_hours(seconds: float | None, gpus: float) -> float | None:
    return None if seconds is None else seconds * gpus / 3600


def _is_done(config: RunConfig, prepared: Prepared, student: StudentConfig) -> bool:
    try:
        job = student_job(config, prepared, student)
    except (CacheError, ObjectNotFoundError):  # damaged records, too: the run heals them
        return False
    return finished_report(job, Folder(config.output)) is not None
