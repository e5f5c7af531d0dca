"""The order of samples: a pure function of (seed, row counts, workers), so that any step is found at once.

Each epoch, the shards are permuted and laid end to end. Every worker gets an equal run of these rows, as
many whole batches as there are for all: fewer than workers x batch_size rows sit the epoch out, others the
next time. Where runs meet, two workers read one shard (a shard longer than a run has more of them).

Within its run a worker shuffles `shuffle_shards` neighbouring shards together, a stretch at a time:

    stretch 0: shards A B C D      A is used up in it; of B half is left, of C two thirds, of D three quarters
    stretch 1: shards B C D E      B is used up, ...
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from phreg.errors import ConfigError
from phreg.seeding import Draws

Rows = Int64[np.ndarray, "rows 2"]
"""Pairs (shard, row), as in `Row`."""


class Row(NamedTuple):
    """One cached crop: the shard's place in the plan, and the row within its targets."""

    shard: int
    row: int


class EpochStep(NamedTuple):
    """A step as an epoch, and a step within it."""

    epoch: int
    step: int


@dataclass(frozen=True)
class Part:
    """Rows begin ... end - 1 of a shard, counted in the epoch's random order of its rows."""

    shard: int
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin

    def piece(self, number: int, pieces: int) -> "Part":
        """One of several nearly equal pieces; some are empty where there are fewer rows."""
        cut, to = (self.begin + len(self) * place // pieces for place in (number, number + 1))
        return Part(self.shard, cut, to)


@dataclass(frozen=True)
class BatchPlan:
    """Which rows each worker sees at each step.

    `rows`: the number of cached crops of each shard. `batch_size`: of a step and worker. `epochs` may be
    a fraction. Every worker makes the same number of steps. A single worker with fewer rows than a batch
    takes them all at each step. Raises `ConfigError` where several have less than a batch for each.
    """

    rows: tuple[int, ...]
    workers: int
    batch_size: int
    shuffle_shards: int
    epochs: float
    seed: int

    def __post_init__(self) -> None:
        check_enough(self.total_rows, self.workers, self.batch_size)

    @cached_property
    def total_rows(self) -> int:
        return sum(self.rows)

    @property
    def rows_per_batch(self) -> int:
        return min(self.batch_size, self.total_rows)

    @property
    def steps_per_epoch(self) -> int:
        return self.total_rows // (self.workers * self.rows_per_batch)

    @property
    def total_steps(self) -> int:
        whole = int(self.epochs)
        fraction = round(self.steps_per_epoch * (self.epochs - whole))
        return max(whole * self.steps_per_epoch + fraction, 1)

    @property
    def most_shards_held(self) -> int:
        """Shards that a worker ever has in memory at once: those shuffled together, and the next."""
        return min(self.shuffle_shards + 1, sum(count > 0 for count in self.rows))

    def place(self, step: int) -> EpochStep:
        """Of step 0 ... total_steps - 1."""
        return EpochStep(*divmod(step, self.steps_per_epoch))

    def epochs_after(self, step: int) -> float:
        """Passes over the data once a step is done: the crops seen so far, by the number of crops."""
        return (step + 1) * self.workers * self.rows_per_batch / self.total_rows

    def worker_epochs(self, epoch: int) -> list["WorkerEpoch"]:
        """One epoch of every worker."""
        return [WorkerEpoch(self, epoch, rank) for rank in range(self.workers)]

    def stretches(self, rank: int, first_step: int) -> Iterator[Rows]:
        """All rows that a worker sees from a step on, in order; those of each item are of at most
        `shuffle_shards` shards."""
        step = first_step
        while step < self.total_steps:
            place = self.place(step)
            steps = min(self.steps_per_epoch, place.step + self.total_steps - step)
            yield from WorkerEpoch(self, place.epoch, rank).between(place.step, steps)
            step += steps - place.step


@dataclass(frozen=True)
class WorkerEpoch:
    """One worker's part of one epoch."""

    plan: BatchPlan
    epoch: int
    rank: int

    @property
    def steps(self) -> int:
        return self.plan.steps_per_epoch

    @cached_property
    def shards(self) -> tuple[int, ...]:
        """Those that the worker reads, in order; each is needed."""
        return tuple(part.shard for part in self._run)

    def batch(self, step: int) -> list[Row]:
        """The rows of step 0 ... steps - 1."""
        return [Row(*pair) for rows in self.between(step, step + 1) for pair in rows.tolist()]

    def between(self, first_step: int, end_step: int) -> Iterator[Rows]:
        """The rows of steps first_step ... end_step - 1, a stretch (or what is asked of it) at a time."""
        begin, end = (step * self.plan.rows_per_batch for step in (first_step, end_step))
        for number in range(bisect_right(self._stretch_ends, begin), len(self._stretch_ends)):
            before = self._stretch_ends[number - 1] if number else 0
            if before >= end:
                return
            yield self._shuffled(number)[max(begin - before, 0) : end - before]

    @cached_property
    def _run(self) -> list[Part]:
        """The worker's rows, end to end."""
        filled = np.flatnonzero(self.plan.rows)
        order = filled[Draws(self.plan.seed, "epoch", self.epoch).permutation(len(filled))].tolist()
        ends = list(accumulate(self.plan.rows[shard] for shard in order))
        begin = self.rank * ends[-1] // self.plan.workers
        end = begin + self.steps * self.plan.rows_per_batch
        parts = []
        for place in range(bisect_right(ends, begin), bisect_right(ends, end - 1) + 1):
            start = ends[place] - self.plan.rows[order[place]]
            parts.append(Part(order[place], max(begin, start) - start, min(end, ends[place]) - start))
        return parts

    @property
    def _together(self) -> int:
        """Shards in each stretch."""
        return min(self.plan.shuffle_shards, len(self._run))

    def _pieces(self, stretch: int) -> list[Part]:
        """What of which shard is in a stretch: of every shard an equal piece in all that it is part of."""
        last_stretch, pieces = len(self._run) - self._together, []
        for place in range(stretch, stretch + self._together):
            first, last = max(place - self._together + 1, 0), min(place, last_stretch)
            pieces.append(self._run[place].piece(stretch - first, last - first + 1))
        return pieces

    @cached_property
    def _stretch_ends(self) -> list[int]:
        """For each stretch, the number of rows up to its end."""
        stretches = range(len(self._run) - self._together + 1)
        return list(accumulate(sum(map(len, self._pieces(stretch))) for stretch in stretches))

    def _shuffled(self, stretch: int) -> Rows:
        """A stretch's rows in their order."""
        rows = np.concatenate([self._rows_of(part) for part in self._pieces(stretch)])
        draws = Draws(self.plan.seed, "stretch", self.epoch, self.rank, stretch)
        return rows[draws.permutation(len(rows))]

    def _rows_of(self, part: Part) -> Rows:
        draws = Draws(self.plan.seed, "rows", self.epoch, part.shard)
        rows = draws.permutation(self.plan.rows[part.shard])[part.begin : part.end]
        return np.stack([np.full_like(rows, part.shard), rows], 1)


def check_enough(rows: int, workers: int, batch_size: int) -> None:
    """Raise `ConfigError` where there are no rows, or less than a batch for each of several workers."""
    if not rows:
        raise ConfigError(
            "There are no crops to train on",
            found="no targets for any training image",
            remedy="generate targets for the training images first: `phreg run` does",
        )
    if workers > 1 and rows < workers * batch_size:
        remedy = f"set training.workers to {max(rows // batch_size, 1)}"
        if rows >= workers:
            remedy += f", or the student's batch_size to at most {rows // workers}"
        raise ConfigError(
            f"{workers} training workers cannot share {rows} crops",
            expected=f"at least {workers * batch_size}: a batch of {batch_size} for each worker",
            found=f"{rows}",
            remedy=remedy,
        )
