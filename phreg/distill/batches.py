"""The order of samples: a pure function of (seed, row counts, workers), so that any step is found at once.

Epoch e: the shards are permuted and dealt to the workers in turn. Each worker takes its shards in
windows of `shuffle_shards`, and shuffles the rows within a window: it never holds more shards than a
window and the next, and no state of the order is ever saved.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from phreg.errors import ConfigError
from phreg.seeding import derive_rng


class Row(NamedTuple):
    """One cached crop: the shard's place in the plan, and the row within its targets."""

    shard: int
    row: int


class Place(NamedTuple):
    """A step as an epoch, and a step within it."""

    epoch: int
    step: int


@dataclass(frozen=True)
class BatchPlan:
    """Which rows each worker sees at each step.

    `rows`: the number of cached crops of each shard. `batch_size`: of a step and worker. `epochs` may be
    a fraction. Every worker makes the same number of steps; rows that fill no batch sit the epoch out,
    others the next time. Raises `ConfigError` where some worker would have no shard.
    """

    rows: tuple[int, ...]
    workers: int
    batch_size: int
    shuffle_shards: int
    epochs: float
    seed: int

    def __post_init__(self) -> None:
        filled = sum(count > 0 for count in self.rows)
        if filled < self.workers:
            raise ConfigError(
                "There are more training workers than shards with targets",
                expected=f"at least {self.workers} shards, one for each worker",
                found=f"{filled}",
                remedy=f"set training.workers to {max(filled, 1)}, or pack smaller shards"
                if filled
                else "generate targets for the training images first",
            )

    @cached_property
    def _steps(self) -> list[int]:
        """Of each epoch, were it whole."""
        return [self.worker_epochs(epoch)[0].steps for epoch in range(math.ceil(self.epochs))]

    @cached_property
    def _ends(self) -> list[int]:
        """For each epoch, the number of steps up to its end; the last may be a fraction."""
        ends = [0, *accumulate(self._steps)]
        last = round(self._steps[-1] * (self.epochs - (len(self._steps) - 1)))
        return [*ends[1:-1], max(ends[-2] + last, 1)]

    @property
    def total_steps(self) -> int:
        return self._ends[-1]

    def place(self, step: int) -> Place:
        """Of step 0 ... total_steps - 1."""
        epoch = bisect_right(self._ends, step)
        return Place(epoch, step - (self._ends[epoch - 1] if epoch else 0))

    def epochs_after(self, step: int) -> float:
        """Passes over the data once a step is done."""
        place = self.place(step)
        return place.epoch + (place.step + 1) / self._steps[place.epoch]

    def worker_epochs(self, epoch: int) -> list["WorkerEpoch"]:
        """One epoch of every worker."""
        filled = np.flatnonzero(self.rows)
        order = derive_rng(self.seed, "epoch", epoch).permutation(filled).tolist()
        hands = [tuple(order[rank :: self.workers]) for rank in range(self.workers)]
        steps = min(sum(self.rows[shard] for shard in hand) for hand in hands) // self.batch_size
        return [WorkerEpoch(self, epoch, rank, hand, max(steps, 1)) for rank, hand in enumerate(hands)]


@dataclass(frozen=True)
class WorkerEpoch:
    """One worker's shards of one epoch, in order, and the number of its steps."""

    plan: BatchPlan
    epoch: int
    rank: int
    shards: tuple[int, ...]
    steps: int

    def batch(self, step: int) -> list[Row]:
        """The rows of step 0 ... steps - 1; fewer than batch_size only where the worker has no more."""
        size = self.plan.batch_size
        start, rows = step * size, list[Row]()
        for window in self.windows(step):
            begin = self._window_ends[window - 1] if window else 0
            rows += self._order(window, max(start - begin, 0), start + size - begin)
        return rows

    def windows(self, step: int) -> range:
        """The windows that a step's batch touches."""
        start, size = step * self.plan.batch_size, self.plan.batch_size
        last = min(start + size, self._window_ends[-1]) - 1
        return range(bisect_right(self._window_ends, start), bisect_right(self._window_ends, last) + 1)

    def window_shards(self, window: int) -> tuple[int, ...]:
        """The shards of a window; none past the last."""
        size = self.plan.shuffle_shards
        return self.shards[window * size : (window + 1) * size]

    @cached_property
    def _window_ends(self) -> list[int]:
        """For each window, the number of rows up to its end."""
        windows = range(-(-len(self.shards) // self.plan.shuffle_shards))
        return list(accumulate(self._count(self.window_shards(window)) for window in windows))

    def _count(self, shards: Sequence[int]) -> int:
        return sum(self.plan.rows[shard] for shard in shards)

    def _order(self, window: int, begin: int, end: int) -> list[Row]:
        """A slice of a window's shuffled rows."""
        shards = self.window_shards(window)
        counts = [self.plan.rows[shard] for shard in shards]
        shard_of = np.repeat(shards, counts)
        row_of = np.concatenate([np.arange(count) for count in counts])
        rng = derive_rng(self.plan.seed, "window", self.epoch, self.rank, window)
        chosen = rng.permutation(len(row_of))[begin:end]
        return [Row(*pair) for pair in zip(shard_of[chosen].tolist(), row_of[chosen].tolist(), strict=True)]
