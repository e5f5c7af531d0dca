"""Scores of label maps: the confusion matrix of a whole set, and what is read from it."""

import numpy as np
from jaxtyping import Float, Int, Shaped

IGNORE = 255
"""Label of pixels that do not count."""


class ConfusionMatrix:
    """Counts of (true class, predicted class) over all pixels of a set; pixels labelled 255 do not count.

    Scores are those of the field (mmsegmentation): over the pixels of the whole set, not a mean of images;
    classes that are neither labelled nor predicted anywhere have no IoU and are left out of the mean.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts: Int[np.ndarray, "K K"] = np.zeros((classes, classes), np.int64)

    def add(self, predicted: Shaped[np.ndarray, "H W"], labels: Shaped[np.ndarray, "H W"]) -> None:
        """Count one image. Raises `ValueError` for shapes that differ or a label that is no class."""
        if predicted.shape != labels.shape:
            raise ValueError(f"predicted {predicted.shape} and labels {labels.shape} differ in shape")
        counted = labels != IGNORE
        true, guess = labels[counted].astype(np.int64), predicted[counted].astype(np.int64)
        for name, found in (("label", true), ("prediction", guess)):
            if found.size and (found.min() < 0 or found.max() >= self.classes):
                raise ValueError(f"a {name} is {found.max()}, but there are {self.classes} classes")
        flat = np.bincount(true * self.classes + guess, minlength=self.classes**2)
        self.counts += flat.reshape(self.classes, self.classes)

    @property
    def class_iou(self) -> Float[np.ndarray, " K"]:
        """Intersection over union a class, in [0, 1]; NaN for a class that occurs nowhere."""
        hit = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - hit
        return np.divide(hit, union, out=np.full(self.classes, np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that occur; NaN if there was no pixel."""
        iou = self.class_iou
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of the counted pixels whose class is right; NaN if there was no pixel."""
        total = self.counts.sum()
        return float(np.diag(self.counts).sum() / total) if total else float("nan")
