"""Differences of methods that were measured on the same images, over one or several seeds."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.real.measure import Row
from phreg.evaluate.bootstrap import paired_difference
from phreg.evaluate.set_counts import SetCounts

CONFIDENCE = 0.95


class Comparison(NamedTuple):
    """What `name` has more than `over`: a pair of methods a seed."""

    name: str
    over: str
    pairs: dict[str, tuple[str, str]]


def summed(rows: Sequence[Row]) -> SetCounts:
    """Counts of several seeds together, image by image: images are what a bootstrap draws."""
    keys = rows[0].counts.keys
    return SetCounts(keys, np.sum([row.counts.of_keys(keys).counts for row in rows], axis=0))


def write_differences(comparisons: Sequence[Comparison], rows: Sequence[Row], path: Path) -> None:
    """Points of mIoU and their interval, of what is there; of several seeds once two are there."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "over", "seeds", "protocol", "difference", "low", "high"])
        for protocol in dict.fromkeys(row.protocol for row in rows):
            at = {row.method: row for row in rows if row.protocol == protocol}
            for name, over, pairs in comparisons:
                there = {seed: pair for seed, pair in pairs.items() if all(method in at for method in pair)}
                if len(there) < min(len(pairs), 2):
                    continue
                mine, theirs = ([at[pair[side]] for pair in there.values()] for side in (0, 1))
                found = paired_difference(
                    summed(mine), summed(theirs), "mIoU", mine[0].min_images, CONFIDENCE
                )
                numbers = [f"{100 * n:.2f}" for n in (found.value, found.low, found.high)]
                writer.writerow([name, over, " ".join(there), protocol, *numbers])
