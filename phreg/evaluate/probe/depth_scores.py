"""Measures of predicted depth, as the benchmarks take them: over an image's pixels, then over images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from phreg.errors import DataError
from phreg.evaluate.probe.heads import MIN_DEPTH
from phreg.types import Quarantined


class DepthScores(BaseModel):
    """Mean over images of each image's measures over its measured pixels.

    `rmse` in metres; `abs_rel` the mean of |predicted - measured| / measured; `delta1` to `delta3` the share
    of pixels whose ratio to the truth, the larger by the smaller, is below 1.25, 1.25^2, 1.25^3. `images`
    are those with a measured pixel; `skipped` those that could not be used, of a whole probe also those it
    could not be trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rmse: float
    abs_rel: float
    delta1: float
    delta2: float
    delta3: float
    images: int
    skipped: tuple[Quarantined, ...] = ()


class DepthMeasures(NamedTuple):
    """The measures of one image, as in `DepthScores`."""

    rmse: float
    abs_rel: float
    delta1: float
    delta2: float
    delta3: float


def measure_depth(
    predicted: Float[np.ndarray, "H W"], measured: Float[np.ndarray, "H W"], max_depth: float
) -> DepthMeasures | None:
    """One image's measures over pixels measured in (1 mm, `max_depth`); None if there is no such pixel.

    Predictions, in metres, are clamped to that range before.
    """
    counted = (measured > MIN_DEPTH) & (measured < max_depth)
    if not counted.any():
        return None
    truth = measured[counted].astype(np.float64)
    guess = predicted[counted].astype(np.float64).clip(MIN_DEPTH, max_depth)
    ratio = np.maximum(guess / truth, truth / guess)
    return DepthMeasures(
        float(np.sqrt(np.square(guess - truth).mean())),
        float((np.abs(guess - truth) / truth).mean()),
        *(float((ratio < 1.25**power).mean()) for power in (1, 2, 3)),
    )


def mean_scores(measures: Sequence[DepthMeasures | None]) -> DepthScores:
    """Scores of a set from its images' measures. Raises `DataError` if no image has a measured pixel."""
    found = [of_image for of_image in measures if of_image is not None]
    if not found:
        raise DataError("No image has a pixel whose depth was measured", expected="depths within the range")
    means: dict[str, Any] = dict(
        zip(DepthMeasures._fields, np.mean(np.array(found), axis=0).tolist(), strict=True)
    )
    return DepthScores(**means, images=len(found))
