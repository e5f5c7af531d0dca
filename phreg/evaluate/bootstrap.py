"""The paired bootstrap over images: how far the difference of two methods depends on the images drawn.

Both methods are scored on the same drawn sets of images, n of n with replacement; the interval holds the
middle share of the differences.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from phreg.evaluate.set_counts import SetCounts, mean_iou, pixel_accuracy
from phreg.seeding import Draws

DRAWS = 2000
SEED = 0
_AT_ONCE = 1 << 22  # numbers in memory


@dataclass(frozen=True)
class Difference:
    """First minus second, of the set as it is, and the interval's ends. `images`: how many there are."""

    value: float
    low: float
    high: float
    confidence: float
    images: int


Measure = Callable[[Num[np.ndarray, "draws K 3"]], Float[np.ndarray, " draws"]]


def paired_difference(
    first: SetCounts, second: SetCounts, measure: str, min_images: int | None, confidence: float
) -> Difference:
    """Of "mIoU" or "pixel accuracy", as shares, on the images that both have.

    The draw depends on the number of images alone. Draws in which a score is not defined are left out.
    """
    keys = first.shared_keys(second)
    mine, theirs = first.of_keys(keys), second.of_keys(keys)
    score = _measure(measure, mine.chosen(min_images))
    if not keys:
        return Difference(np.nan, np.nan, np.nan, confidence, 0)
    value = (score(mine.counts.sum(0)[None]) - score(theirs.counts.sum(0)[None]))[0]
    differences = _drawn(mine.counts, score) - _drawn(theirs.counts, score)
    differences = differences[np.isfinite(differences)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail]) if differences.size else (np.nan, np.nan)
    return Difference(float(value), float(low), float(high), confidence, len(keys))


def score_of(counts: SetCounts, measure: str, min_images: int | None) -> float:
    """Of all the images, as a share."""
    return float(_measure(measure, counts.chosen(min_images))(counts.counts.sum(0)[None])[0])


def _measure(name: str, chosen: np.ndarray) -> Measure:
    if name == "mIoU":
        return lambda sums: mean_iou(sums, chosen)
    assert name == "pixel accuracy", name
    return pixel_accuracy


def _drawn(counts: Int[np.ndarray, "n K 3"], score: Measure) -> Float[np.ndarray, " draws"]:
    """The score of every drawn set."""
    flat = counts.reshape(len(counts), -1).astype(np.float64)  # exact: pixels of a set are far below 2^53
    step = max(_AT_ONCE // flat.shape[1], 1)
    weights = drawn_weights(len(counts))
    parts = [weights[i : i + step] @ flat for i in range(0, len(weights), step)]
    return np.concatenate([score(part.reshape(len(part), *counts.shape[1:])) for part in parts])


def drawn_weights(images: int, draws: int = DRAWS, seed: int = SEED) -> Float[np.ndarray, "draws n"]:
    """How often each image is in each drawn set."""
    chosen = Draws(seed, "bootstrap", images).integers(0, images - 1, draws * images).reshape(draws, images)
    offset = np.arange(draws)[:, None] * images
    counted = np.bincount((chosen + offset).ravel(), minlength=draws * images)
    return counted.reshape(draws, images).astype(np.float64)
