"""Batches as training wants them: read, joined, decoded and cut ahead of it, in background threads."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from phreg.distill.batches import BatchPlan, WorkerEpoch
from phreg.distill.samples import Batch, JoinedShard, Samples, make_batch

SHARDS_AT_ONCE = 2  # a reader mostly waits for the network
BATCHES_AHEAD = 2


def train_batches(
    samples: Samples, plan: BatchPlan, rank: int, first_step: int
) -> Generator[Batch, None, None]:
    """One worker's batches from `first_step` on; only shards that are still needed are read.

    Memory: encoded images and targets of two windows of shards, and `BATCHES_AHEAD` decoded batches.
    """
    return _ahead(_train_batches(samples, plan, rank, first_step))


def held_out_batches(samples: Samples, share: range, batch_size: int) -> Iterator[Batch]:
    """The rows numbered `share`, counted over all shards, in order; one shard in memory at a time."""
    return _ahead(_held_out_batches(samples, share, batch_size))


def _train_batches(
    samples: Samples, plan: BatchPlan, rank: int, first_step: int
) -> Generator[Batch, None, None]:
    work: WorkerEpoch | None = None
    with _threads(SHARDS_AT_ONCE) as readers, _threads(torch.get_num_threads()) as decoders:
        shelf = _Shelf(samples, readers)
        for step in range(first_step, plan.total_steps):
            place = plan.place(step)
            if work is None or work.epoch != place.epoch:
                work = plan.worker_epochs(place.epoch)[rank]
            windows = work.windows(place.step)
            one_more = range(windows.start, windows.stop + 1)
            shelf.keep(shard for window in one_more for shard in work.window_shards(window))
            rows = [(shelf.get(shard), row) for shard, row in work.batch(place.step)]
            yield make_batch(rows, samples.image_size, decoders)


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


class _Shelf:
    """Joined shards in memory, or on their way."""

    def __init__(self, samples: Samples, readers: ThreadPoolExecutor) -> None:
        self._samples, self._readers = samples, readers
        self._shards: dict[int, Future[JoinedShard]] = {}

    def keep(self, shards: Iterable[int]) -> None:
        """Hold these and no others; the first are read first."""
        held, self._shards = self._shards, {}
        for shard in shards:
            future = held.get(shard) or self._readers.submit(self._samples.read, self._samples.refs[shard])
            self._shards[shard] = future

    def get(self, shard: int) -> JoinedShard:
        return self._shards[shard].result()


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
