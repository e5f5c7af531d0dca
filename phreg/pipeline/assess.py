"""The evaluation stage: the label-free measures of teacher, students and champion, and their figures.

The functions that need a network run as one Ray task each, where the GPUs are; URIs go in, small records
come out. What was measured before on the same crops is reused.
"""

import json
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from phreg.cache import TargetStore
from phreg.config.run import RunConfig
from phreg.distill.result import StudentReport
from phreg.evaluate import (
    Evaluation,
    Look,
    ModelIdentity,
    benchmark_digest,
    draw_before_after,
    draw_curve,
    draw_shifts,
    evaluate_model,
    held_out,
    look,
    stored_evaluation,
)
from phreg.models import Backbone, load_student, load_teacher
from phreg.pipeline.known import known_identity, note_loaded
from phreg.pipeline.prepare import Prepared
from phreg.progress import about, tell
from phreg.storage import Folder

FIGURES, LOSS_FIGURE = "figures", "loss.png"


@dataclass(frozen=True)
class Assessment:
    """A student's measures, the names of its figures, and how often the teacher ran to draw them."""

    evaluation: Evaluation
    figures: tuple[str, ...]
    teacher_forward_passes: int


def assess_teacher(config: RunConfig, prepared: Prepared) -> Evaluation:
    return _assess(config, prepared, None)


def assess_model(config: RunConfig, prepared: Prepared, model_url: str) -> Evaluation:
    """Of a model in timm's hub layout, for instance the champion, on this run's held-out crops."""
    return _assess(config, prepared, model_url)


def _assess(config: RunConfig, prepared: Prepared, model_url: str | None) -> Evaluation:
    identity = known_identity(config, prepared, model_url)
    stored = None if identity is None else evaluation_of(config, prepared, identity)
    return stored or on_cluster(config, _evaluate, config, prepared, model_url)


def evaluation_of(config: RunConfig, prepared: Prepared, identity: ModelIdentity) -> Evaluation | None:
    """What is stored of a model on this run's held-out crops: no model is loaded, no image read."""
    store, urls = reference_store(config, prepared), list(prepared.validation)
    benchmark = benchmark_digest(store, urls, config.evaluation, config.seed)
    return stored_evaluation(evaluations(config), identity, benchmark, beside_teacher=True)


def assess_student(config: RunConfig, prepared: Prepared, report: StudentReport) -> Assessment:
    evaluation = assess_model(config, prepared, f"{report.url}/model")
    drawn, passes = drawn_figures(report), 0
    if LOSS_FIGURE not in drawn:  # it is written last
        passes = on_cluster(config, _draw, config, prepared, report)
        drawn = drawn_figures(report)
    return Assessment(evaluation, drawn, passes)


def drawn_figures(report: StudentReport) -> tuple[str, ...]:
    """Names of the figures in a student's folder."""
    listed = (Folder(report.url) / FIGURES).list()
    return tuple(item.path for item in listed if item.path.endswith(".png"))


def on_cluster(config: RunConfig, function, *arguments):  # type: ignore[no-untyped-def]
    """`function(*arguments)` where a teacher has room."""
    from phreg.execution.remote import run_remote  # a report of what is measured needs no Ray
    from phreg.pipeline.paths import run_paths

    generation = config.generation
    with about(run=config.name):
        return run_remote(
            function,
            *arguments,
            num_cpus=generation.cpus_per_actor,
            num_gpus=generation.gpus,
            start_timeout_s=generation.start_timeout_s,
            paths=run_paths(config),
            address=config.ray_address,
        )


def device_of(config: RunConfig) -> str:
    """Of what runs `on_cluster`. Ray shows a task all GPUs of its node, also if it asked for none."""
    return "cuda" if config.generation.gpus else "cpu"


def reference_store(config: RunConfig, prepared: Prepared) -> TargetStore:
    """The targets that models are measured against."""
    return TargetStore.open(Folder(config.cache_url), prepared.targets[config.reference_targets])


def shifts_of(config: RunConfig, model: Backbone) -> Int[Tensor, "s 2"]:
    """The shifts of the run's evaluation."""
    settings = config.evaluation
    return draw_shifts(model.grid_size, settings.shifts, settings.max_shift, config.seed)


def look_at(model: Backbone, crop: UInt8[np.ndarray, "S S 3"], shifts: Int[Tensor, "s 2"]) -> Look:
    """A model's look at one crop, on the CPU; its features in the space of the targets."""
    with torch.inference_mode():
        batch = torch.from_numpy(crop)[None].to(model.mean.device)
        seen = look(model, model.normalize(batch), shifts)
        return seen._replace(features=model.as_targets(seen.features)).cpu()


def _evaluate(config: RunConfig, prepared: Prepared, model_url: str | None) -> Evaluation:
    model = load_teacher(config.teacher) if model_url is None else load_student(model_url)
    note_loaded(config, model_url, model)
    return evaluated(config, prepared, model)


def evaluated(config: RunConfig, prepared: Prepared, model: Backbone) -> Evaluation:
    """A model's measures on this run's held-out crops, stored or measured here."""
    return evaluate_model(
        model,
        reference_store(config, prepared),
        list(prepared.validation),
        config.evaluation,
        seed=config.seed,
        device=device_of(config),
        folder=evaluations(config),
        teacher=lambda: load_teacher(config.teacher),
    )


def evaluations(config: RunConfig) -> Folder:
    return Folder(config.output) / "evaluations"


def _draw(config: RunConfig, prepared: Prepared, report: StudentReport) -> int:
    """Before and after on the first held-out crops, and the loss curves, into the student's folder.

    Returns the number of forward passes the teacher made.
    """
    folder, device, passes = Folder(report.url), device_of(config), 0
    figures = folder / FIGURES
    if config.evaluation.figures:
        crops = held_out(
            reference_store(config, prepared), list(prepared.validation), config.evaluation.figures
        )
        models = [load_teacher(config.teacher).on(device), load_student(f"{report.url}/model").on(device)]
        shifts = shifts_of(config, models[0])
        for i, (key, crop) in enumerate(zip(crops.keys, crops.crops, strict=True)):
            before, after = (look_at(model, crop, shifts) for model in models)
            picture = draw_before_after(crop, before, after, title=key, names=("teacher", report.name))
            figures.write(f"before-after-{i:02d}.png", picture)
            passes += 1 + len(shifts)
            tell("drawing", i + 1, len(crops))
    rows = [json.loads(line) for line in folder.read("curve.jsonl").splitlines()]
    figures.write(LOSS_FIGURE, draw_curve(rows))
    return passes
