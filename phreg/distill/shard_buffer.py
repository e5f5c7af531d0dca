"""`ShardBuffer`: the joined shards that a worker has in memory, or on their way."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from phreg.distill.samples import JoinedShard, Samples


class ShardBuffer:
    """Never more than `places` shards; one is read at a time, and its objects side by side."""

    def __init__(self, samples: Samples, places: int, reader: ThreadPoolExecutor) -> None:
        self._samples, self._places, self._reader = samples, places, reader
        self._shards: dict[int, Future[JoinedShard]] = {}

    def hold(self, needed: Sequence[int], soon: Sequence[int]) -> None:
        """Hold the needed ones, and of those needed soon what there is room for; all others are let go.

        They are read in this order.
        """
        wanted = list(dict.fromkeys([*needed, *soon]))[: self._places]
        assert set(needed) <= set(wanted), "a stretch has fewer shards than there are places"
        self._shards = {shard: self._shards[shard] for shard in wanted if shard in self._shards}
        for shard in wanted:
            if shard not in self._shards:
                self._shards[shard] = self._reader.submit(self._samples.read, self._samples.refs[shard])

    def take(self, shard: int, rows: Sequence[int]) -> JoinedShard:
        """A copy of some rows of a shard that is held; waits until it is there."""
        return self._shards[shard].result().take(rows)
