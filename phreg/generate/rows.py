"""A shard's targets on their way from the teacher to the cache: encoded, and samples left out whole.

Shapes: B crops, P patches, C channels, n views.
"""

import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phreg.cache import EncodedFeatures, TargetRows, TargetSpec
from phreg.cache.encodings import LARGEST, encode_tensors, row_magnitudes
from phreg.cache.writer import ShardWriter
from phreg.generate.crops import Crop
from phreg.generate.teacher import Targets
from phreg.types import Quarantined

BATCHES_ON_THEIR_WAY = 2


@dataclass(frozen=True)
class EncodedBatch:
    """Targets of a batch, encoded where the teacher is and on their way to the host, with each row's largest
    magnitude (NaN where there is one, also in its variance). `ready`: a CUDA event; None on a CPU."""

    tensors: dict[str, Tensor]
    largest: Float[Tensor, " B"]
    ready: Any = None

    @classmethod
    def start(cls, targets: Targets, encoding: str) -> "EncodedBatch":
        """On a GPU this only queues the work: encoding there, and a copy of the small result into pinned
        memory. `wait` before the tensors are looked at."""
        features, variance = targets
        largest = row_magnitudes(features)
        if variance is not None:
            largest = torch.where(variance.isfinite().all(1), largest, torch.nan)
        largest = largest.to("cpu", non_blocking=True)
        encoded = encode_tensors(features, encoding, variance)
        tensors = {name: tensor.to("cpu", non_blocking=True) for name, tensor in encoded.items()}
        return cls(tensors, largest, torch.cuda.current_stream().record_event() if features.is_cuda else None)

    def wait(self) -> "EncodedBatch":
        if self.ready is not None:
            self.ready.synchronize()
        return self


class RowStream:
    """Rows in the order they are added, written beside the teacher's work by a thread of its own.

    A sample's rows go on once its last crop is there; one that is left out loses all of its crops. Errors of
    the thread are raised by the next call. Use it as a context.
    """

    def __init__(self, spec: TargetSpec, writer: ShardWriter) -> None:
        self._spec, self._writer = spec, writer
        self._reasons: dict[str, str] = {}
        self._crops: list[Crop] = []  # of the sample whose crops are not all there
        self._rows: list[EncodedFeatures] = []
        self._pool = ThreadPoolExecutor(1, "phreg-rows")
        self._batches: deque[Future[None]] = deque()

    def __enter__(self) -> "RowStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, crops: Sequence[Crop], targets: Targets | EncodedBatch) -> None:
        """Take a batch; waits while `BATCHES_ON_THEIR_WAY` others are not through."""
        while len(self._batches) >= BATCHES_ON_THEIR_WAY:
            self._batches.popleft().result()
        self._batches.append(self._pool.submit(self._take, list(crops), targets))

    def leave_out(self, key: str, reason: str) -> None:
        """Of a sample whose rows, if it has any, are not all there yet."""
        self._pool.submit(self._reasons.setdefault, key, reason)

    def finish(self) -> list[Quarantined]:
        """Once all rows are in the writer's hands: samples left out. By key: the order in which they were
        noticed depends on the batches."""
        while self._batches:
            self._batches.popleft().result()
        self._pool.submit(self._pass_on).result()
        return sorted(Quarantined(key, reason) for key, reason in self._reasons.items())

    def _take(self, crops: Sequence[Crop], targets: Targets | EncodedBatch) -> None:
        """In the thread."""
        if not isinstance(targets, EncodedBatch):
            targets = EncodedBatch.start(targets, self._spec.encoding)
        batch = targets.wait()
        for crop, largest in zip(crops, batch.largest.tolist(), strict=True):
            if problem := self._problem(largest):
                self._reasons.setdefault(crop.key, problem)
        rows = EncodedFeatures.of_tensors(self._spec.encoding, batch.tensors)
        whole = self._whole(crops)
        self._crops += crops[:whole]
        self._rows += [rows[:whole]] if whole else []
        if whole:
            self._pass_on()
        self._crops += crops[whole:]
        self._rows += [rows[whole:]] if whole < len(crops) else []

    def _whole(self, crops: Sequence[Crop]) -> int:
        """How many of a batch's crops belong to samples that end within it."""
        last = self._spec.crops_per_image - 1
        return max((place for place, crop in enumerate(crops, 1) if crop.index == last), default=0)

    def _pass_on(self) -> None:
        """Hand what is there to the writer, but for samples that are left out."""
        crops, kept, first = self._crops, list[EncodedFeatures](), 0
        for part in self._rows:
            mine = crops[first : first + len(part)]
            first += len(part)
            chosen = [row for row, crop in enumerate(mine) if crop.key not in self._reasons]
            kept.append(part if len(chosen) == len(part) else part[chosen])
        good = [crop for crop in crops if crop.key not in self._reasons]
        self._crops, self._rows = [], []
        self._writer.add(self._target_rows(good, kept))

    def _target_rows(self, crops: Sequence[Crop], parts: Sequence[EncodedFeatures]) -> TargetRows:
        views = [np.column_stack([crop.views.offsets, crop.views.flips]) for crop in crops]
        return TargetRows(
            keys=[crop.key for crop in crops],
            crops=np.array([crop.index for crop in crops], np.int32),
            boxes=np.array([crop.box for crop in crops], np.int32).reshape(-1, 3),
            views=np.array(views, np.int32).reshape(-1, self._spec.views, 3),
            features=self._joined(parts),
        )

    def _joined(self, parts: Sequence[EncodedFeatures]) -> EncodedFeatures:
        if len(parts) == 1:
            return parts[0]
        nothing = torch.empty(0, self._spec.patches, self._spec.dim)
        sure = nothing[..., 0] if self._spec.variance else None
        empty = EncodedFeatures.encode(nothing, self._spec.encoding, sure)
        arrays = {
            name: np.concatenate([part.arrays[name] for part in (empty, *parts)]) for name in empty.arrays
        }
        return EncodedFeatures(self._spec.encoding, arrays)

    def _problem(self, largest: float) -> str:
        if not math.isfinite(largest):
            return "NaN or Inf in its features"
        if largest > LARGEST[self._spec.encoding]:
            return f"features up to {largest:g} do not fit into {self._spec.encoding}"
        return ""
