"""Labelled sets in memory, and features made by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from phreg.config.labels import LabelledSetConfig
from phreg.errors import DataError
from phreg.evaluate.datasets import LabelledImage, LabelledSet, open_set
from phreg.evaluate.probe import ProbeData
from tests.helpers import make_image


class MemorySet(LabelledSet):
    """A set of given images; an error in place of one is raised when it is asked for."""

    def __init__(
        self, items: Sequence[LabelledImage | DataError], classes: int = 0, name: str = "memory"
    ) -> None:
        self.name = name
        self.items = list(items)
        self.classes = tuple((f"class {i}",) for i in range(classes))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> LabelledImage:
        item = self.items[index]
        if isinstance(item, DataError):
            raise item
        return item


def camvid(shared: Path, split: str, images: int | None = None) -> LabelledSet:
    """The first images of CamVid; 11 is what nobody labelled."""
    root = str(shared / "data/camvid")
    return open_set(LabelledSetConfig(kind="folder", root=root, split=split, images=images, ignore=(11,)))


def picture(seed: int, width: int = 48, height: int = 40) -> np.ndarray:
    return np.array(make_image(seed, width, height))


def probe_data(
    features: torch.Tensor,
    labels: Sequence[np.ndarray] | None = None,
    depths: Sequence[np.ndarray] | None = None,
) -> ProbeData:
    """Given features [N, C, h, w] with their labels or depths."""
    n = len(features)
    return ProbeData(
        name="made",
        keys=tuple(f"image {i}" for i in range(n)),
        features=features.half(),
        labels=tuple(labels) if labels is not None else (None,) * n,
        depths=tuple(depths) if depths is not None else (None,) * n,
    )
