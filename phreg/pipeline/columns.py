"""The columns of a table: labelled sets, and what is measured on them.

Functions here run where the network runs; what they measure is stored under a digest of all it depends on.
"""

import json
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError

from phreg.config.labels import Column, LabelledSetConfig, ProbeColumn, SetColumn, is_embedding_file
from phreg.config.run import RunConfig
from phreg.evaluate.datasets import LabelledSet, open_set
from phreg.evaluate.probe import TRAINING, probe_depth, probe_segmentation
from phreg.evaluate.segment import ClassEmbeddings, Segmenter, class_embeddings, segment_and_count
from phreg.evaluate.segment.embedding_file import EmbeddingFile, read_embedding_file
from phreg.evaluate.set_counts import SetCounts
from phreg.method.denoising import Denoising
from phreg.models import Backbone
from phreg.models.text import TextTower, load_text
from phreg.progress import tell
from phreg.storage import Folder
from phreg.storage.checksummed import (
    read_checksummed_json,
    read_checksummed_tensors,
    to_checksummed_json,
    to_checksummed_tensors,
)
from phreg.types import HIGHER_IS_BETTER

Scores = dict[str, float]

SKIPPED = "skipped"
CLASSES = "classes in mIoU"
LABELLED_MEASURES = {
    "mIoU": True, "pixel accuracy": True, "RMSE": False, "AbsRel": False, "delta1": True,
    "delta2": True, "delta3": True, CLASSES: True, SKIPPED: False,
}  # fmt: skip
"""Measures of labelled columns. IoU and accuracy in percent; RMSE in metres; AbsRel and deltas as shares.
Classes that the mIoU is over (where a column chooses), and `skipped` images are counted, not compared."""
DETAIL = "IoU of"
"""Begins the measures of single classes, which only the CSV shows."""
MAIN = ("mIoU", "RMSE")
"""The one measure of each kind of column that short tables show."""


def is_higher_better(name: str) -> bool:
    """Of a label-free measure, or a labelled column's, named "COLUMN MEASURE"."""
    if name in HIGHER_IS_BETTER:
        return HIGHER_IS_BETTER[name]
    return next(higher for measure, higher in LABELLED_MEASURES.items() if name.endswith(f" {measure}"))


def arrow(name: str) -> str:
    """In which direction a measure is good."""
    return "↑" if is_higher_better(name) else "↓"


def in_order(scores: Scores) -> list[tuple[str, float]]:
    """A column's measures as tables have them, whether they were stored or are new; classes come last."""
    known = [(name, scores[name]) for name in LABELLED_MEASURES if name in scores]
    return known + sorted((name, value) for name, value in scores.items() if name not in LABELLED_MEASURES)


def is_count(name: str) -> bool:
    """Of images left out, or of classes: no merit of a method."""
    return name.endswith((f" {SKIPPED}", f" {CLASSES}"))


def shown_measures(scores: Iterable[Scores]) -> list[str]:
    """Every measure that some have, in the order in which they first come.

    But no single class's, and no count of images left out where all are 0.
    """
    found = list(scores)
    names = dict.fromkeys(name for of_row in found for name in of_row if f" {DETAIL} " not in name)
    return [name for name in names if not is_count(name) or any(of_row.get(name) for of_row in found)]


def labelled_sets(column: Column) -> list[LabelledSetConfig]:
    return [column] if isinstance(column, SetColumn) else [column.train, column.test]


def load_names(config: RunConfig, column: SetColumn) -> TextTower | EmbeddingFile:
    """What names a set's classes."""
    place = column.text or config.labels.text
    if place is None:
        return load_text(config.teacher.model, config.teacher.checkpoint)
    return read_embedding_file(place) if is_embedding_file(place) else load_text(place)


def embed_classes(
    source: TextTower | EmbeddingFile, column: SetColumn, labelled: LabelledSet, folder: Folder | None = None
) -> ClassEmbeddings:
    """The classes of a set as vectors. Where a threshold tells the background, a file may leave it out."""
    if isinstance(source, TextTower):
        return class_embeddings(source, labelled.classes, folder=folder)
    threshold = column.segmentation.background_threshold
    return source.for_classes(labelled.classes, None if threshold is None else labelled.background)


@dataclass(frozen=True)
class Bench:
    """What columns are measured with, made anew by every task: files of weights may change between two."""

    config: RunConfig
    device: str

    @cached_property
    def _names(self) -> dict[str | None, TextTower | EmbeddingFile]:
        return {}

    def names(self, column: SetColumn) -> TextTower | EmbeddingFile:
        """What names a set's classes, loaded when first asked for; a text tower to where the networks run."""
        place = column.text or self.config.labels.text
        if place not in self._names:
            source = load_names(self.config, column)
            self._names[place] = source.to(self.device) if isinstance(source, TextTower) else source
        return self._names[place]

    @cached_property
    def folder(self) -> Folder:
        return kept_in(self.config)


def kept_in(config: RunConfig) -> Folder:
    """Where a run keeps scores, class embeddings and features."""
    return Folder(config.output) / "labels"


class Found(NamedTuple):
    """What was measured on a column; of segmentation also the counts of each image."""

    scores: Scores
    counts: SetCounts | None = None


def measure_column(column: Column, backbone: Backbone, denoising: Denoising | None, bench: Bench) -> Found:
    """The measures of one method on one column."""
    if isinstance(column, SetColumn):
        return _segmentation(column, segmenter(column, backbone, denoising, bench))
    return Found(_probe(column, backbone, denoising, bench))


def _segmentation(column: SetColumn, predictor: Segmenter) -> Found:
    found, counts = segment_and_count(predictor, open_set(column), partial(tell, "segmenting"))
    classes = {f"{DETAIL} {name}": 100 * iou for name, iou in found.class_iou.items() if iou is not None}
    measures = {"mIoU": 100 * found.miou, "pixel accuracy": 100 * found.pixel_accuracy}
    if column.segmentation.min_images is not None:
        measures[CLASSES] = float(found.classes_in_miou)
    return Found(measures | _skipped(found.skipped) | classes, counts)


def segmenter(column: SetColumn, backbone: Backbone, denoising: Denoising | None, bench: Bench) -> Segmenter:
    """Of one method for one set."""
    labelled = open_set(column)
    names = embed_classes(bench.names(column), column, labelled, bench.folder)
    classes, background = len(labelled.classes), labelled.background
    return Segmenter(backbone, *names, classes, column.segmentation, background, denoising, bench.device)


def _probe(column: ProbeColumn, backbone: Backbone, denoising: Denoising | None, bench: Bench) -> Scores:
    sets: tuple[Any, ...] = (open_set(column.train), open_set(column.test))
    kept = bench.folder / "features"
    arguments: tuple[Any, ...] = (backbone, *sets, column.probe, kept, bench.device, denoising, _tell_stage)
    if column.task == "segmentation":
        scores = probe_segmentation(*arguments)
        measures = {"mIoU": 100 * scores.mean_iou, "pixel accuracy": 100 * scores.pixel_accuracy}
        return measures | _skipped(scores.skipped)
    depth = probe_depth(*arguments)
    return {
        "RMSE": depth.rmse, "AbsRel": depth.abs_rel, "delta1": depth.delta1, "delta2": depth.delta2,
        "delta3": depth.delta3,
    } | _skipped(depth.skipped)  # fmt: skip


def _tell_stage(stage: str, done: int, total: int) -> None:
    tell(stage, done, total, "steps" if stage == TRAINING else "images")


def _skipped(images: Sized) -> Scores:
    return {SKIPPED: float(len(images))}


def stored_scores(folder: Folder, digest: str, counted: bool) -> Scores | None:
    """Scores found under a digest; what cannot be read is measured again. `counted`: as are those whose
    images' counts are gone."""
    fields = read_checksummed_json(folder, f"scores/{digest}.json")
    try:
        scores = None if fields is None else TypeAdapter(Scores).validate_python(fields.get("scores"))
    except ValidationError:
        return None
    return None if scores is not None and counted and stored_counts(folder, digest) is None else scores


def store_found(folder: Folder, digest: str, found: Found) -> None:
    """Scores not where images were left out: once they are mended, they are others under the same digest."""
    if found.counts is not None:
        keys = torch.frombuffer(bytearray(json.dumps(found.counts.keys).encode()), dtype=torch.uint8)
        tensors = {"counts": torch.from_numpy(found.counts.counts), "keys": keys}
        folder.write(_counts_path(digest), to_checksummed_tensors(tensors))
    if not found.scores.get(SKIPPED):
        folder.write(f"scores/{digest}.json", to_checksummed_json({"scores": found.scores}))


def stored_counts(folder: Folder, digest: str) -> SetCounts | None:
    """The counts of each image, from when the scores of this digest were measured last."""
    tensors = read_checksummed_tensors(folder, _counts_path(digest))
    if tensors is None:
        return None
    return SetCounts(tuple(json.loads(bytes(tensors["keys"].tolist()))), tensors["counts"].numpy())


def _counts_path(digest: str) -> str:
    return f"scores/{digest}.counts.safetensors"
