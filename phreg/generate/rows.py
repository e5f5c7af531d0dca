"""Collects a shard's targets crop by crop, and leaves samples out whole.

Shapes: N crops, P patches, C channels, n views.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

from phreg.cache import EncodedFeatures, TargetRows, TargetSpec
from phreg.cache.encodings import LARGEST, LAYOUTS
from phreg.generate.crops import Crop
from phreg.types import Quarantined


class RowCollector:
    """Rows in the order they are added; a sample that is quarantined loses all of its crops."""

    def __init__(self, spec: TargetSpec, samples: int) -> None:
        self._spec, self._crops, self._reasons = spec, list[Crop](), dict[str, str]()
        # Held as they will be stored; but int8 depends on all rows of the shard, and can only come last.
        self._held = "float32" if spec.encoding == "int8" else spec.encoding
        shape = (samples * spec.crops_per_image, spec.patches, spec.dim)
        self._features = np.empty(shape, LAYOUTS[self._held]["features"][0])  # some GB: never copied whole

    def add(self, crops: Sequence[Crop], features: Float32[np.ndarray, "B P C"]) -> None:
        for crop, values in zip(crops, features, strict=True):
            if problem := self._problem(values):
                self.leave_out(crop.key, problem)
                continue
            row = EncodedFeatures.encode(values[None], self._held)
            self._features[len(self._crops)] = row.arrays["features"][0]
            self._crops.append(crop)

    def leave_out(self, key: str, reason: str) -> None:
        self._reasons.setdefault(key, reason)

    def rows(self) -> TargetRows:
        """All rows but those of samples left out. To be called once: it moves them together in place."""
        crops = self._drop_left_out()
        views = [np.column_stack([crop.views.offsets, crop.views.flips]) for crop in crops]
        return TargetRows(
            keys=[crop.key for crop in crops],
            crops=np.array([crop.index for crop in crops], np.int32),
            boxes=np.array([crop.box for crop in crops], np.int32).reshape(-1, 3),
            views=np.array(views, np.int32).reshape(-1, self._spec.views, 3),
            features=self._encoded(self._features[: len(crops)]),
        )

    @property
    def quarantined(self) -> list[Quarantined]:
        """By key: the order in which they were noticed depends on the batches."""
        return sorted(Quarantined(key, reason) for key, reason in self._reasons.items())

    def _drop_left_out(self) -> list[Crop]:
        kept = [row for row, crop in enumerate(self._crops) if crop.key not in self._reasons]
        for place, row in enumerate(kept):
            if place != row:
                self._features[place] = self._features[row]
        self._crops = [self._crops[row] for row in kept]
        return self._crops

    def _encoded(self, features: npt.NDArray[Any]) -> EncodedFeatures:
        if self._held == self._spec.encoding:
            return EncodedFeatures(self._held, {"features": features})
        return EncodedFeatures.encode(features, self._spec.encoding)

    def _problem(self, values: Float32[np.ndarray, "P C"]) -> str:
        largest = float(np.abs(values).max())  # NaN wins any maximum
        if not np.isfinite(largest):
            return "NaN or Inf in its features"
        if largest > LARGEST[self._spec.encoding]:
            return f"features up to {largest:g} do not fit into {self._spec.encoding}"
        return ""
