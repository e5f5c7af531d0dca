"""Scores of one network under one read-out, by all protocols of a set; kept, so that none is made twice."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.real.protocols import Bench, Protocol
from phreg.evaluate.datasets import LabelledImage
from phreg.evaluate.scores import ConfusionMatrix
from phreg.evaluate.segment import ClassEmbeddings, Segmenter
from phreg.evaluate.segment.labels import class_labels, rows_at
from phreg.evaluate.set_counts import SetCounts, mean_iou, pixel_accuracy
from phreg.method.denoising import Denoising
from phreg.models import Backbone

SCALE = 40.0


class Row(NamedTuple):
    """One method on one set by one protocol."""

    method: str
    bench: str
    protocol: str
    counts: SetCounts
    min_images: int
    seconds: float

    @property
    def miou(self) -> float:
        return 100 * float(mean_iou(self.counts.counts.sum(0), self.chosen))

    @property
    def accuracy(self) -> float:
        return 100 * float(pixel_accuracy(self.counts.counts.sum(0)))

    @property
    def chosen(self) -> np.ndarray:
        return self.counts.chosen(self.min_images)


def measure(
    method: str, backbone: Backbone, bench: Bench, out: Path, denoising: Denoising | None = None
) -> None:
    """All protocols of a set, unless they are there: one file a method and set."""
    path = result_path(out, method, bench)
    if path.exists():
        return
    started = time.monotonic()
    classes = {p.name: p.classes(bench.labelled) for p in bench.protocols}
    matrices: dict[str, list[ConfusionMatrix]] = {name: [] for name in classes}
    keys = []
    for image in bench.labelled:
        keys.append(image.key)
        for protocol, matrix in zip(
            bench.protocols, _one(backbone, bench, image, classes, denoising), strict=True
        ):
            matrices[protocol.name].append(matrix)
    save(path, method, bench, keys, matrices, time.monotonic() - started)


def save(
    path: Path, method: str, bench: Bench, keys: Sequence[str],
    matrices: Mapping[str, Sequence[ConfusionMatrix]], seconds: float,
) -> None:  # fmt: skip
    """Of each protocol a matrix an image; whole, or not at all."""
    fields = {"method": method, "bench": bench.name, "seconds": np.array(seconds)}
    arrays = {
        f"counts {n}": SetCounts.of(keys, m, len(bench.labelled.classes)).counts for n, m in matrices.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, keys=np.array(keys), **fields, **arrays)
    temporary.rename(path)
    shown = {row.protocol: round(row.miou, 1) for row in rows(path, bench)}
    print(f"{time.strftime('%H:%M:%S')} {method} on {bench.name}: {json.dumps(shown)}", flush=True)


@torch.no_grad()
def _one(
    backbone: Backbone, bench: Bench, image: LabelledImage, classes: Mapping[str, ClassEmbeddings],
    denoising: Denoising | None,
) -> list[ConfusionMatrix]:  # fmt: skip
    """A matrix a protocol, from one forward pass (or from all views)."""
    assert image.labels is not None
    labels, size = torch.from_numpy(image.labels), image.labels.shape
    together = torch.cat([found.embeddings for found in classes.values()])
    count = len(bench.labelled.classes)
    owner = torch.arange(len(together)).clamp(max=count - 1)
    segmenter = Segmenter(backbone, together, owner, count, bench.seen, denoising=denoising)
    cosines = rows_at(next(segmenter._maps(image.image[None])), size, 0, size[0])
    matrices, start = [], 0
    for protocol in bench.protocols:
        own = classes[protocol.name].owner
        guess = class_labels(cosines[start : start + len(own)], own, SCALE)
        matrix = ConfusionMatrix(count)
        matrix.add(guess.numpy(), protocol.labels(labels).numpy())
        matrices.append(matrix)
        start += len(own)
    return matrices


def result_path(out: Path, method: str, bench: Bench) -> Path:
    return out / "results" / f"{bench.name}-{bench.config.images or 'all'}" / f"{method}.npz"


def rows(path: Path, bench: Bench) -> list[Row]:
    with np.load(path, allow_pickle=False) as found:
        keys, seconds = tuple(found["keys"].tolist()), float(found["seconds"])
        return [
            Row(
                str(found["method"]),
                bench.name,
                p.name,
                SetCounts(keys, found[f"counts {p.name}"]),
                p.min_images,
                seconds,
            )
            for p in bench.protocols
        ]


def protocol_named(bench: Bench, name: str) -> Protocol:
    return next(p for p in bench.protocols if p.name == name)
