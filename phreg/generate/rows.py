"""Collects a shard's targets crop by crop, and leaves samples out whole.

Shapes: N crops, P patches, C channels, n views.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from phreg.cache import EncodedFeatures, TargetRows, TargetSpec
from phreg.cache.encodings import LARGEST
from phreg.generate.crops import Crop
from phreg.types import Quarantined


class RowCollector:
    """Rows in the order they are added; a sample that is quarantined loses all of its crops."""

    def __init__(self, spec: TargetSpec, samples: int) -> None:
        crops = samples * spec.crops_per_image
        self._spec = spec
        self._crops: list[Crop] = []
        self._features = np.empty((crops, spec.patches, spec.dim), np.float32)  # some GB: never copied
        self._reasons: dict[str, str] = {}

    def add(self, crops: Sequence[Crop], features: Float32[np.ndarray, "B P C"]) -> None:
        for crop, values in zip(crops, features, strict=True):
            if problem := self._problem(values):
                self.leave_out(crop.key, problem)
                continue
            self._features[len(self._crops)] = values
            self._crops.append(crop)

    def leave_out(self, key: str, reason: str) -> None:
        self._reasons.setdefault(key, reason)

    def rows(self) -> TargetRows:
        kept = [row for row, crop in enumerate(self._crops) if crop.key not in self._reasons]
        whole = kept == list(range(len(kept)))
        features = self._features[: len(kept)] if whole else self._features[kept]
        crops = [self._crops[row] for row in kept]
        views = [np.column_stack([crop.views.offsets, crop.views.flips]) for crop in crops]
        return TargetRows(
            keys=[crop.key for crop in crops],
            crops=np.array([crop.index for crop in crops], np.int32),
            boxes=np.array([crop.box for crop in crops], np.int32).reshape(-1, 3),
            views=np.array(views, np.int32).reshape(-1, self._spec.views, 3),
            features=EncodedFeatures.encode(features, self._spec.encoding),
        )

    @property
    def quarantined(self) -> list[Quarantined]:
        """By key: the order in which they were noticed depends on the batches."""
        return sorted(Quarantined(key, reason) for key, reason in self._reasons.items())

    def _problem(self, values: Float32[np.ndarray, "P C"]) -> str:
        largest = float(np.abs(values).max())  # NaN wins any maximum
        if not np.isfinite(largest):
            return "NaN or Inf in its features"
        if largest > LARGEST[self._spec.encoding]:
            return f"features up to {largest:g} do not fit into {self._spec.encoding}"
        return ""
