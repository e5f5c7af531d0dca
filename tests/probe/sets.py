"""Labelled sets in memory, and features made by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from phreg.datasets.base import LabelledImage, LabelledSet
from phreg.errors import DataError
from phreg.probe import ProbeData
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


def camvid(root: Path, split: str, images: int) -> MemorySet:
    """The first images of CamVid; 11 is what nobody labelled."""
    items = []
    for path in sorted((root / split / "images").iterdir())[:images]:
        labels = np.array(Image.open(root / split / "labels" / f"{path.stem}.png"))
        labels[labels == 11] = 255
        items.append(LabelledImage(path.stem, np.array(Image.open(path).convert("RGB")), labels=labels))
    return MemorySet(items, 11, "camvid")


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
