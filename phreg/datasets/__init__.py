"""Labelled data sets, read from the folders that people have after unpacking the official archives."""

from phreg.datasets.base import LabelledImage, LabelledSet

__all__ = ["LabelledImage", "LabelledSet"]
