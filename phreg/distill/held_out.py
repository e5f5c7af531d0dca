"""The held-out crops of a training: the same batches each time, decoded once where memory allows."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from phreg.distill.samples import Batch, Samples
from phreg.distill.stream import held_out_batches
from phreg.distill.workers import Workers

KEPT_BYTES = 512 * 2**20
"""Of decoded crops and encoded targets that a worker keeps; of more, the rest is read each time."""


@dataclass
class HeldOutBatches:
    """A worker's share of the held-out crops, of which `count` are used in all: the first."""

    samples: Samples
    share: range
    count: int
    batch_size: int
    keep: int = KEPT_BYTES
    _kept: list[Batch] = field(default_factory=list, init=False)

    @staticmethod
    def of(samples: Samples, batch_size: int, workers: Workers, most: int) -> "HeldOutBatches":
        count = min(sum(samples.rows), most)
        begin, end = (count * place // workers.world for place in (workers.rank, workers.rank + 1))
        return HeldOutBatches(samples, range(begin, end), count, batch_size)

    def batches(self) -> Iterator[Batch]:
        """All of them, always in the same order."""
        yield from tuple(self._kept)
        kept = self.share.start + sum(map(len, self._kept))
        room = self.keep - sum(batch.nbytes for batch in self._kept)
        for batch in held_out_batches(self.samples, range(kept, self.share.stop), self.batch_size):
            room -= batch.nbytes
            if room >= 0:  # never again once one was too large: what is kept comes first
                self._kept.append(batch)
            yield batch
