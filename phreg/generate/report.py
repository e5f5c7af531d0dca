"""What making targets came to: those of a shard, and all of one kind."""

from dataclasses import dataclass

from phreg.cache import CommitRecord
from phreg.types import Quarantined


@dataclass(frozen=True)
class ShardReport:
    """`images` and `crops` have targets; `quarantined` samples have none. Small and picklable.

    forward_passes: of the teacher, a view being one, for it in this run, 0 if it was committed before.
    bytes: of the committed objects. seconds: from reading the shard to the commit.
    damage: what was wrong with an earlier commit record of it, which was removed.
    """

    shard: str
    url: str
    reused: bool
    images: int
    crops: int
    forward_passes: int
    quarantined: tuple[Quarantined, ...]
    bytes: int
    seconds: float
    damage: str = ""


@dataclass(frozen=True)
class TargetsReport:
    """What came of one kind of targets. `failed` are (shard, reason). `seconds`: from the first image to the
    last commit, 0 where all was reused."""

    digest: str
    shards: tuple[ShardReport, ...]
    failed: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def reused(self) -> int:
        return sum(shard.reused for shard in self.shards)

    @property
    def made(self) -> int:
        return len(self.shards) - self.reused

    @property
    def images(self) -> int:
        return sum(shard.images for shard in self.shards)

    @property
    def forward_passes(self) -> int:
        return sum(shard.forward_passes for shard in self.shards)

    @property
    def bytes(self) -> int:
        return sum(shard.bytes for shard in self.shards)

    @property
    def quarantined(self) -> tuple[tuple[str, str, str], ...]:
        """(shard, key, reason) of all samples left out."""
        return tuple((shard.shard, *sample) for shard in self.shards for sample in shard.quarantined)


def shard_report(
    record: CommitRecord,
    url: str,
    crops_per_image: int,
    *,
    reused: bool,
    forward_passes: int,
    seconds: float,
    damage: str,
) -> ShardReport:
    return ShardReport(
        shard=record.shard,
        url=url,
        reused=reused,
        images=record.rows // crops_per_image,
        crops=record.rows,
        forward_passes=forward_passes,
        quarantined=tuple(record.quarantined),
        bytes=record.bytes,
        seconds=seconds,
        damage=damage,
    )
