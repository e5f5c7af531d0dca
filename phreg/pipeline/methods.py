"""The rows of a table: methods, each a network and how its features are taken; and measuring one of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from phreg.cache import TargetStore
from phreg.config import RunConfig
from phreg.datasets import open_set
from phreg.distill.result import StudentReport
from phreg.evaluate import evaluate_model
from phreg.evaluate.evaluation import model_identity
from phreg.execution.remote import run_remote
from phreg.fingerprint import digest_bytes, digest_json
from phreg.label_config import LabelledSetConfig, ProbeColumn
from phreg.models import Backbone, load_student, load_teacher
from phreg.pipeline.columns import Column, Scores, labelled_sets, measure_column, store_scores, stored_scores
from phreg.pipeline.prepare import Prepared
from phreg.segment import ViewPlan
from phreg.storage import Folder
from phreg.table_config import TableConfig, TeacherRow

FORMAT_VERSION = 1  # raise it when the same method would have other scores
SAMPLED_IMAGES = 16
_PLACES: Any = {"name": True, "root": True, "train": {"root"}, "test": {"root"}}
LABEL_FREE = ("shift_cosine_mean", "target_cosine_p50", "outlier_rate")


@dataclass(frozen=True)
class Method:
    """One row of one seed. `model_url`: a student's folder; None: the teacher, under `read_out`."""

    name: str
    seed: int
    model_url: str | None = None
    read_out: str | None = None
    views: ViewPlan | None = None

    def load(self, config: RunConfig) -> Backbone:
        if self.model_url is not None:
            return load_student(self.model_url)
        return load_teacher(config.teacher.model_copy(update={"read_out": self.read_out}))


def teacher_method(row: TeacherRow, seed: int) -> Method:
    views = ViewPlan(row.views, row.max_shift, seed) if row.views > 1 else None
    return Method(row.name, seed, None, row.read_out, views)


def student_method(report: StudentReport, seed: int) -> Method:
    return Method(report.name, seed, f"{report.url}/model")


def measure(table: TableConfig, prepared: Prepared, method: Method, columns: Iterable[Column]) -> Scores:
    """All measures of a method, by "COLUMN MEASURE", as one Ray task. Measured before: reused."""
    generation = table.run.generation
    gpus = min(1.0, generation.gpus_per_actor)
    cpus = generation.cpus_per_actor
    return run_remote(_measure, table, prepared, method, tuple(columns), num_cpus=cpus, num_gpus=gpus)


def _measure(table: TableConfig, prepared: Prepared, method: Method, columns: tuple[Column, ...]) -> Scores:
    """In a worker."""
    config = table.seeded(method.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone = method.load(config).to(device)
    folder = Folder(config.output) / "tables"
    found: Scores = {}
    for column in columns:
        column = _with_seed(column, method.seed)
        digest = _digest(table, method, backbone, column)
        scores = stored_scores(folder, digest)
        if scores is None:
            scores = measure_column(
                column, backbone, method.views, table.text, config.teacher, folder, device
            )
            store_scores(folder, digest, scores)
        found |= {f"{column.name} {measure}": value for measure, value in scores.items()}
    if table.label_free and method.views is None:
        found |= _label_free(config, prepared, backbone, device)
    return found


def _label_free(config: RunConfig, prepared: Prepared, backbone: Backbone, device: str) -> Scores:
    store = TargetStore.open(Folder(config.cache_url), prepared.targets[config.reference_targets])
    evaluation = evaluate_model(
        backbone, store, list(prepared.validation), config.evaluation,
        seed=config.seed, device=device, folder=Folder(config.output) / "evaluations",
    )  # fmt: skip
    return {name: evaluation.metrics[name] for name in LABEL_FREE if name in evaluation.metrics}


def _with_seed(column: Column, seed: int) -> Column:
    if isinstance(column, ProbeColumn):
        probe = column.probe.model_copy(update={"seed": seed})
        return column.model_copy(update={"probe": probe})
    return column


def _digest(table: TableConfig, method: Method, backbone: Backbone, column: Column) -> str:
    """Identity of a method's scores on a column."""
    fields: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "model": model_identity(backbone),
        "views": None if method.views is None else vars(method.views),
        "column": column.model_dump(mode="json", exclude=_PLACES),
        "sets": [_content(item) for item in labelled_sets(column)],
        "text": None if isinstance(column, ProbeColumn) else (table.text or table.run.teacher.model),
    }
    return digest_json(fields)


def _content(item: LabelledSetConfig) -> dict[str, Any]:
    """What a set holds, told from its size, its classes, and some of its images, evenly spread."""
    labelled = open_set(item)
    chosen = sorted({int(i) for i in np.linspace(0, len(labelled) - 1, SAMPLED_IMAGES)})
    seen = []
    for i in chosen:
        image = labelled[i]
        arrays = [a for a in (image.image, image.labels, image.depth) if a is not None]
        seen.append([image.key, *(digest_bytes(np.ascontiguousarray(a).tobytes()) for a in arrays)])
    return {"images": len(labelled), "classes": [list(names) for names in labelled.classes], "seen": seen}
