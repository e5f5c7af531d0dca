"""Pixel counts of a segmented set, image by image: what its scores are read from, and compared by."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int, Num

from phreg.evaluate.scores import ConfusionMatrix

HIT, LABELLED, PREDICTED = range(3)


@dataclass(frozen=True, eq=False)
class SetCounts:
    """Of each image and class, pixels that are right, labelled, and predicted; those that count only.

    Scores are over the pixels of the whole set, as `ConfusionMatrix` gives them.
    """

    keys: tuple[str, ...]
    counts: Int[np.ndarray, "n K 3"] = field(repr=False)

    @staticmethod
    def of(keys: Sequence[str], matrices: Sequence[ConfusionMatrix], classes: int) -> "SetCounts":
        """One confusion matrix an image."""
        rows = [[np.diag(m.counts), m.counts.sum(1), m.counts.sum(0)] for m in matrices]
        counts = np.array(rows, np.int64).reshape(len(rows), 3, classes).transpose(0, 2, 1)
        return SetCounts(tuple(keys), np.ascontiguousarray(counts))

    def chosen(self, min_images: int | None) -> np.ndarray:
        """Which classes the mean is over, [K]: those labelled in so many images; None: all."""
        images = (self.counts[:, :, LABELLED] > 0).sum(0)
        return images >= (min_images or 0)

    def shared_keys(self, other: "SetCounts") -> list[str]:
        known = set(other.keys)
        return [key for key in self.keys if key in known]

    def of_keys(self, keys: Sequence[str]) -> "SetCounts":
        """Those images, in that order."""
        place = {key: index for index, key in enumerate(self.keys)}
        return SetCounts(tuple(keys), self.counts[[place[key] for key in keys]])


def class_iou(sums: Num[np.ndarray, "... K 3"]) -> Float[np.ndarray, "... K"]:
    """Intersection over union from counts summed over images; NaN for a class that occurs nowhere."""
    hit = sums[..., HIT].astype(np.float64)
    union = sums[..., LABELLED] + sums[..., PREDICTED] - hit
    return np.divide(hit, union, out=np.full(hit.shape, np.nan), where=union > 0)


def mean_iou(sums: Num[np.ndarray, "... K 3"], chosen: np.ndarray) -> Float[np.ndarray, "..."]:
    """Mean over the chosen classes that occur; NaN if none does."""
    iou = np.where(chosen, class_iou(sums), np.nan)
    occurring = np.isfinite(iou)
    count = occurring.sum(-1)
    total = np.where(occurring, iou, 0.0).sum(-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def pixel_accuracy(sums: Num[np.ndarray, "... K 3"]) -> Float[np.ndarray, "..."]:
    """Share of the counted pixels whose class is right; NaN if there was no pixel."""
    hit, total = (sums[..., which].sum(-1).astype(np.float64) for which in (HIT, LABELLED))
    return np.divide(hit, total, out=np.full(np.shape(hit), np.nan), where=total > 0)
