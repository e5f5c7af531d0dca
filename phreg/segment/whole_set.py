"""Segmentation of a whole labelled set, and its scores."""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phreg.datasets.base import LabelledImage, LabelledSet
from phreg.errors import ConfigError, DataError, NonFiniteError
from phreg.scores import ConfusionMatrix
from phreg.segment.segmenter import Segmenter

IMAGES_PER_BATCH = 16
Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


class SegmentationScores(BaseModel):
    """Scores of one method on one set, in [0, 1]; over all pixels of the set whose label counts."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    miou: float = Field(description="mean of class_iou over the classes that occur")
    pixel_accuracy: float
    class_iou: dict[str, float | None] = Field(description="by title; None: neither labelled nor predicted")
    images: int = Field(description="measured")
    skipped: dict[str, str] = Field({}, description="images left out, and why")
    seconds: float


def segment_set(
    segmenter: Segmenter, labelled_set: LabelledSet, on_progress: Progress | None = None
) -> SegmentationScores:
    """Segment every image at its own size and count all pixels in one confusion matrix.

    An image that cannot be read or segmented is left out and named in `skipped`. Raises `DataError` if
    none is left or no pixel's label counts, `ConfigError` if the segmenter is for other classes.
    """
    started = time.perf_counter()
    _check_classes(segmenter, labelled_set)
    matrix = ConfusionMatrix(segmenter.classes)
    skipped: dict[str, str] = {}
    measured = 0
    for batch in _batches(labelled_set, skipped):
        measured += _count(segmenter, batch, matrix, skipped)
        if on_progress is not None:
            on_progress(measured + len(skipped), len(labelled_set))
    _check_measured(labelled_set.name, matrix, skipped)
    iou = [float(value) if np.isfinite(value) else None for value in matrix.class_iou]
    return SegmentationScores(
        miou=matrix.mean_iou,
        pixel_accuracy=matrix.pixel_accuracy,
        class_iou=dict(zip(titles(labelled_set.classes), iou, strict=True)),
        images=measured,
        skipped=skipped,
        seconds=time.perf_counter() - started,
    )


def titles(classes: Sequence[Sequence[str]]) -> list[str]:
    """The first name of each class; with its index where an earlier class has the same."""
    first = [names[0] for names in classes]
    return [
        title if title not in first[:index] else f"{title} ({index})" for index, title in enumerate(first)
    ]


def _batches(labelled_set: LabelledSet, skipped: dict[str, str]) -> Iterator[list[LabelledImage]]:
    """The set's images in their order, those of one size that follow each other together."""
    batch: list[LabelledImage] = []
    for index in range(len(labelled_set)):
        try:
            image = labelled_set[index]
        except DataError as error:
            skipped[f"image {index}"] = str(error)
            continue
        if image.labels is None:
            skipped[image.key] = "it has no labels"
            continue
        if batch and (len(batch) == IMAGES_PER_BATCH or image.image.shape != batch[0].image.shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def _count(
    segmenter: Segmenter, batch: list[LabelledImage], matrix: ConfusionMatrix, skipped: dict[str, str]
) -> int:
    """Add a batch to the matrix; gives how many images could be measured."""
    try:
        predicted = segmenter.predict_batch(np.stack([image.image for image in batch]))
    except (DataError, NonFiniteError) as error:
        if len(batch) > 1:  # the others are sound
            return sum(_count(segmenter, [image], matrix, skipped) for image in batch)
        skipped[batch[0].key] = str(error)
        return 0
    measured = 0
    for image, guess in zip(batch, predicted, strict=True):
        assert image.labels is not None
        try:
            matrix.add(guess, image.labels)
            measured += 1
        except ValueError as error:
            skipped[image.key] = str(error)
    return measured


def _check_classes(segmenter: Segmenter, labelled_set: LabelledSet) -> None:
    if len(labelled_set.classes) != segmenter.classes:
        raise ConfigError(
            f"The segmenter is not for the classes of {labelled_set.name}",
            expected=f"{len(labelled_set.classes)} classes",
            found=str(segmenter.classes),
        )


def _check_measured(name: str, matrix: ConfusionMatrix, skipped: dict[str, str]) -> None:
    if matrix.counts.any():
        return
    first = "".join(f"; {key}: {reason}" for key, reason in list(skipped.items())[:3])
    raise DataError(
        f"Nothing of {name} could be measured",
        expected="at least one image with labels that count",
        found=f"{len(skipped)} images left out{first}",
        remedy="check the set's folder, its classes and its ignored labels",
    )
