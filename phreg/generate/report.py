"""What making a shard's targets came to."""

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
