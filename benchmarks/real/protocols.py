"""What is measured: labelled sets, each with the ways in which it is scored, all from one set of cosines.

Shapes: names N, classes K, width C.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.real.names import VOC_FILE, camvid_names, voc_names
from phreg.config.labels import LabelledSetConfig, SegmentationConfig
from phreg.evaluate.datasets import LabelledSet, open_set
from phreg.evaluate.scores import IGNORE
from phreg.evaluate.segment import ClassEmbeddings
from phreg.evaluate.segment.embedding_file import read_embedding_file


@dataclass(frozen=True)
class Protocol:
    """How label maps are scored: the names that compete, and over which classes mIoU is.

    `min_images`: classes labelled in so many images. `without_zero`: class 0 is background, and left out.
    """

    name: str
    embeddings: str
    min_images: int
    without_zero: bool = False

    def classes(self, labelled: LabelledSet) -> ClassEmbeddings:
        found = read_embedding_file(self.embeddings).for_classes(labelled.classes)
        if not self.without_zero:
            return found
        kept = found.owner > 0
        return ClassEmbeddings(found.embeddings[kept], found.owner[kept])

    def labels(self, labels: Tensor) -> Tensor:
        return torch.where(labels == 0, IGNORE, labels) if self.without_zero else labels


@dataclass(frozen=True)
class Bench:
    """A labelled set and its protocols, and how its images are seen."""

    name: str
    config: LabelledSetConfig
    seen: SegmentationConfig
    protocols: tuple[Protocol, ...]

    @cached_property
    def labelled(self) -> LabelledSet:
        return open_set(self.config)


def _seen(short_side: int, windows: bool) -> SegmentationConfig:
    """Whole, or in the paper's windows."""
    sides = {"window": 224, "stride": 112} if windows else {}
    return SegmentationConfig(short_side=short_side, **sides)


def voc(
    weights: Path, data: Path, out: Path, images: int | None, windows: bool = False, short_side: int = 336
) -> Bench:
    """VOC's images. `min_images` 4: with fewer, one image decides a class."""
    config = LabelledSetConfig(kind="folder", root=str(data / "voc"), images=images)
    named = str(voc_names(weights, out))
    protocols = (
        Protocol("VOC20", named, 4, without_zero=True),
        Protocol("VOC21", named, 4),
        Protocol("VOC21, one background name", str(weights / VOC_FILE), 4),
    )
    return Bench(f"voc{'-windows' * windows}", config, _seen(short_side, windows), protocols)


def camvid(weights: Path, data: Path, out: Path, images: int | None, windows: bool = False) -> Bench:
    root = str(data / "camvid")
    config = LabelledSetConfig(kind="folder", root=root, split="test", images=images, ignore=(11,))
    protocols = (Protocol("CamVid", str(camvid_names(weights, out)), 1),)
    return Bench(f"camvid{'-windows' * windows}", config, _seen(352, windows), protocols)
