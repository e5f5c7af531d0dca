"""How far the making of targets is, as it can be asked for while it goes on. Small and picklable."""

from dataclasses import dataclass

from phreg.progress import Progress


@dataclass
class ShardProgress:
    """`images` of `total` are done; a total of 0: it is not known yet. `doing` is a word for now's step."""

    url: str
    doing: str = "reading"
    images: int = 0
    total: int = 0


@dataclass(frozen=True)
class GeneratorProgress:
    """`steps` grows with whatever is done: a sign of life. `shards` are those at work."""

    steps: int
    shards: tuple[ShardProgress, ...] = ()


class CropCounter:
    """Counts a shard's images while their crops are computed; an image is done with its last crop.

    A batch that is computed again, because it was too much at once, counts once.
    """

    def __init__(self, shard: ShardProgress, crops_per_image: int) -> None:
        self._shard, self._per_image, self._crops = shard, crops_per_image, 0

    def __call__(self, within_batch: Progress) -> None:
        self._shard.images = (self._crops + within_batch.done) // self._per_image

    def finished(self, crops: int) -> None:
        self._crops += crops
        self._shard.images = self._crops // self._per_image

    def left_out(self) -> None:
        """An image without crops: it cannot be read."""
        self.finished(self._per_image)
