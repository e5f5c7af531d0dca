"""Labelled data sets, read from the folders that people have after unpacking the official archives."""

from phreg.evaluate.datasets.base import LabelledImage, LabelledSet
from phreg.evaluate.datasets.open import open_set

__all__ = ["LabelledImage", "LabelledSet", "open_set"]
