"""Segmentation of a whole labelled set, and its scores."""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phreg.errors import ConfigError, DataError, NonFiniteError
from phreg.evaluate.datasets.base import LabelledImage, LabelledSet
from phreg.evaluate.scores import ConfusionMatrix
from phreg.evaluate.segment.segmenter import Segmenter
from phreg.evaluate.set_counts import SetCounts, class_iou, mean_iou, pixel_accuracy

IMAGES_PER_BATCH = 16
Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


class SegmentationScores(BaseModel):
    """Scores of one method on one set, in [0, 1]; over all pixels of the set whose label counts."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    miou: float = Field(description="mean of class_iou over the classes that occur, or `min_images` chose")
    classes_in_miou: int = Field(description="how many these are")
    pixel_accuracy: float
    class_iou: dict[str, float | None] = Field(description="by title; None: neither labelled nor predicted")
    images: int = Field(description="measured")
    skipped: dict[str, str] = Field({}, description="images left out, and why")
    seconds: float


def segment_set(
    segmenter: Segmenter, labelled_set: LabelledSet, on_progress: Progress | None = None
) -> SegmentationScores:
    """Segment every image at its own size; scores are over all pixels of the set.

    An image that cannot be read or segmented is left out and named in `skipped`. Raises `DataError` if
    none is left or no pixel's label counts, `ConfigError` if the segmenter is for other classes.
    """
    return segment_and_count(segmenter, labelled_set, on_progress)[0]


def segment_and_count(
    segmenter: Segmenter, labelled_set: LabelledSet, on_progress: Progress | None = None
) -> tuple[SegmentationScores, SetCounts]:
    """As `segment_set`, with the counts of each image."""
    started = time.perf_counter()
    _check_classes(segmenter, labelled_set)
    skipped: dict[str, str] = {}
    measured: dict[str, ConfusionMatrix] = {}
    for batch in _batches(labelled_set, skipped):
        measured |= _count(segmenter, batch, skipped)
        if on_progress is not None:
            on_progress(len(measured) + len(skipped), len(labelled_set))
    counts = SetCounts.of(list(measured), list(measured.values()), segmenter.classes)
    _check_measured(labelled_set.name, counts, skipped)
    chosen, sums = counts.chosen(segmenter.settings.min_images), counts.counts.sum(0)
    _check_frequent(labelled_set.name, chosen, segmenter.settings.min_images)
    of_class = class_iou(sums)
    scores = SegmentationScores(
        miou=float(mean_iou(sums, chosen)),
        classes_in_miou=int((chosen & np.isfinite(of_class)).sum()),
        pixel_accuracy=float(pixel_accuracy(sums)),
        class_iou=dict(zip(titles(labelled_set.classes), map(_or_none, of_class), strict=True)),
        images=len(measured),
        skipped=skipped,
        seconds=time.perf_counter() - started,
    )
    return scores, counts


def _or_none(iou: float) -> float | None:
    return float(iou) if np.isfinite(iou) else None


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
    segmenter: Segmenter, batch: list[LabelledImage], skipped: dict[str, str]
) -> dict[str, ConfusionMatrix]:
    """The matrices of those images of a batch that could be measured, by key."""
    try:
        predicted = segmenter.predict_batch(np.stack([image.image for image in batch]))
    except (DataError, NonFiniteError) as error:
        if len(batch) > 1:  # the others are sound
            parts = [_count(segmenter, [image], skipped) for image in batch]
            return {key: matrix for part in parts for key, matrix in part.items()}
        skipped[batch[0].key] = str(error)
        return {}
    measured: dict[str, ConfusionMatrix] = {}
    for image, guess in zip(batch, predicted, strict=True):
        assert image.labels is not None
        matrix = ConfusionMatrix(segmenter.classes)
        try:
            matrix.add(guess, image.labels)
            measured[image.key] = matrix
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


def _check_frequent(name: str, chosen: np.ndarray, min_images: int | None) -> None:
    if not chosen.any():
        raise DataError(
            f"No class of {name} is labelled often enough to be scored",
            expected=f"classes labelled in at least {min_images} images",
            remedy="lower segmentation.min_images",
        )


def _check_measured(name: str, found: SetCounts, skipped: dict[str, str]) -> None:
    if found.counts.any():
        return
    first = "".join(f"; {key}: {reason}" for key, reason in list(skipped.items())[:3])
    raise DataError(
        f"Nothing of {name} could be measured",
        expected="at least one image with labels that count",
        found=f"{len(skipped)} images left out{first}",
        remedy="check the set's folder, its classes and its ignored labels",
    )
