"""Batches as training wants them: read, joined, decoded and cut ahead of it, in background threads."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, pairwise

import numpy as np
import torch

from phreg.distill.batches import BatchPlan, Rows
from phreg.distill.samples import Batch, JoinedShard, Samples, make_batch
from phreg.distill.shard_buffer import ShardBuffer

BATCHES_AHEAD = 2
NO_ROWS = np.empty((0, 2), np.int64)


def train_batches(
    samples: Samples, plan: BatchPlan, rank: int, first_step: int
) -> Generator[Batch, None, None]:
    """One worker's batches from `first_step` on; only shards that are still needed are read.

    Memory: encoded images and targets of `plan.most_shards_held` shards, what reading one of them takes,
    and `BATCHES_AHEAD` decoded batches.
    """
    return _ahead(_train_batches(samples, plan, rank, first_step))


def held_out_batches(samples: Samples, share: range, batch_size: int) -> Iterator[Batch]:
    """The rows numbered `share`, counted over all shards, in order; one shard in memory at a time."""
    return _ahead(_held_out_batches(samples, share, batch_size))


def _train_batches(
    samples: Samples, plan: BatchPlan, rank: int, first_step: int
) -> Generator[Batch, None, None]:
    taken: list[tuple[JoinedShard, int]] = []
    with _threads(1) as reader, _threads(torch.get_num_threads()) as decoders:
        buffer = ShardBuffer(samples, plan.most_shards_held, reader)
        for rows, following in pairwise(chain(plan.stretches(rank, first_step), [NO_ROWS])):
            buffer.hold(_shards(rows), _shards(following))
            for cut in _cuts(rows, plan.rows_per_batch, len(taken)):
                taken += _take(buffer, cut)
                if len(taken) == plan.rows_per_batch:
                    yield make_batch(taken, samples.image_size, decoders)
                    taken = []


def _shards(rows: Rows) -> list[int]:
    """In the order in which they are needed."""
    return list(dict.fromkeys(rows[:, 0].tolist()))


def _cuts(rows: Rows, size: int, begun: int) -> list[Rows]:
    """Cut where batches end; `begun` rows of the first are there already."""
    return np.split(rows, range(size - begun, len(rows), size))


def _take(buffer: ShardBuffer, rows: Rows) -> list[tuple[JoinedShard, int]]:
    """A copy of the rows: no batch keeps a shard in memory."""
    parts = [buffer.take(shard, rows[rows[:, 0] == shard, 1].tolist()) for shard in _shards(rows)]
    return [(part, row) for part in parts for row in range(len(part.images))]


def _held_out_batches(samples: Samples, share: range, batch_size: int) -> Generator[Batch, None, None]:
    begin = 0
    with _threads(torch.get_num_threads()) as decoders:
        for ref, count in zip(samples.refs, samples.rows, strict=True):
            mine = range(max(share.start - begin, 0), min(share.stop - begin, count))
            begin += count
            if not mine:
                continue
            shard = samples.read(ref)
            for first in range(0, len(mine), batch_size):
                rows = [(shard, row) for row in mine[first : first + batch_size]]
                yield make_batch(rows, samples.image_size, decoders)


def _ahead(batches: Generator[Batch, None, None]) -> Generator[Batch, None, None]:
    """The same, made in a background thread up to `BATCHES_AHEAD` ahead. Its errors are raised here."""
    with _threads(1) as maker:
        waiting = deque(maker.submit(next, batches, None) for _ in range(BATCHES_AHEAD))
        try:
            while (batch := waiting.popleft().result()) is not None:
                waiting.append(maker.submit(next, batches, None))
                yield batch
        finally:
            maker.shutdown(cancel_futures=True)
            batches.close()


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that drops what it has not begun when it is left."""
    pool = ThreadPoolExecutor(count, "phreg-samples")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
