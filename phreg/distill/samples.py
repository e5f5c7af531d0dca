"""Crops and their targets: a shard's images joined by key with its targets, and batches of both.

Shapes: B crops, S pixels per side, P patches, C channels.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phreg.cache import EncodedFeatures, TargetRows, TargetStore
from phreg.cache.parallel import in_parallel
from phreg.data import cut, decode_image, read_shard
from phreg.distill.job import ShardRef
from phreg.errors import ContentMismatchError, MissingTargetsError
from phreg.method.certainty import certainty_weights
from phreg.types import Box


@dataclass(frozen=True)
class JoinedShard:
    """A shard's targets, and for each of their rows the encoded image it is of."""

    name: str
    targets: TargetRows = field(repr=False)
    images: tuple[bytes, ...] = field(repr=False)

    def take(self, rows: Sequence[int]) -> "JoinedShard":
        """A copy of some rows, without the others in memory."""
        return JoinedShard(self.name, self.targets[rows], tuple(self.images[row] for row in rows))


@dataclass(frozen=True)
class Samples:
    """Shards, the number of their cached crops, how to read one, and the side of a crop in pixels."""

    refs: tuple[ShardRef, ...]
    rows: tuple[int, ...]
    read: Callable[[ShardRef], JoinedShard]
    image_size: int


@dataclass(frozen=True)
class Batch:
    """Crops [B, S, S, 3] and their targets in parts, still encoded, together [B, P, C]."""

    keys: tuple[str, ...]
    crops: UInt8[Tensor, "B S S 3"] = field(repr=False)
    features: tuple[EncodedFeatures, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    def targets(self, device: torch.device) -> Float[Tensor, "B P C"]:
        """Decoded where they are needed: encoded features are half or a quarter of the bytes to move."""
        return torch.cat([part.decode(device) for part in self.features])

    def weights(self, device: torch.device) -> Float[Tensor, "B P"]:
        """Of tokens in the loss, by how sure they are. Raises `MissingTargetsError` if that is not stored."""
        variances = [part.variance(device) for part in self.features]
        known = [variance for variance in variances if variance is not None]
        if len(known) < len(variances):
            raise MissingTargetsError(
                "These targets do not say how sure they are",
                remedy="make them with `variance: true`, or train without weigh_by_certainty",
            )
        return certainty_weights(torch.cat(known))

    def on(self, device: torch.device) -> "BatchOnDevice":
        """Moved there and decoded, once for all students that learn from it."""
        return BatchOnDevice(self.keys, self.crops.to(device), self.features, self.targets(device))

    @property
    def nbytes(self) -> int:
        return self.crops.nbytes + sum(part.nbytes for part in self.features)


@dataclass(frozen=True)
class BatchOnDevice(Batch):
    """A batch whose crops are where they are needed, and so are its targets, decoded."""

    decoded: Float[Tensor, "B P C"] = field(repr=False)

    def targets(self, device: torch.device) -> Float[Tensor, "B P C"]:
        return self.decoded


def join_shard(ref: ShardRef, store: TargetStore) -> JoinedShard:
    """Read a shard and its targets, whole and verified, and join them by key.

    Raises `ContentMismatchError` if the shard is not the one the targets were made of, and
    `MissingTargetsError` if the two have different samples.
    """
    shard = read_shard(ref.url)
    if shard.digest != ref.digest:
        raise ContentMismatchError(
            f"The shard {ref.url} changed since its targets were planned",
            expected=f"content with SHA-256 {ref.digest}",
            found=shard.digest,
            remedy="put the old content back, or give the new one a new name and run again",
        )
    targets = store.read(ref.name, ref.digest)
    images = {sample.key: sample.image for sample in shard.samples}
    strangers = sorted(set(targets.keys) - set(images))
    if strangers:
        raise MissingTargetsError(
            f"Targets and images of the shard {ref.url} do not belong together",
            expected="an image for every cached target",
            found=f"{len(strangers)} targets without one, the first {strangers[0]!r}",
            remedy="generate this shard's targets again, into a fresh cache",
        )
    return JoinedShard(ref.name, targets, tuple(images[key] for key in targets.keys))


def open_samples(store: TargetStore, refs: Sequence[ShardRef]) -> Samples:
    """The shards' committed targets, counted. Raises `MissingTargetsError`, `ContentMismatchError`."""
    records = in_parallel(lambda ref: store.check_content(ref.name, ref.digest), refs)
    missing = [ref.name for ref, record in zip(refs, records, strict=True) if record is None]
    rows = tuple(record.rows for record in records if record is not None)
    if missing or not sum(rows):
        raise MissingTargetsError(
            f"The cache {store.folder.url} lacks targets",
            expected=f"committed targets for {len(refs)} shards",
            found=f"none for {len(missing)} of them ({', '.join(missing[:3])})" if missing else "no samples",
            remedy="generate them first: `phreg run` does",
        )
    return Samples(tuple(refs), rows, lambda ref: join_shard(ref, store), store.spec.image_size)


def make_batch(rows: Sequence[tuple[JoinedShard, int]], size: int, decoders: Executor) -> Batch:
    """Decode and cut the crops of (shard, row) pairs. A shard's rows come together, in the order given."""
    by_shard: dict[int, list[tuple[JoinedShard, int]]] = {}
    for shard, row in rows:
        by_shard.setdefault(id(shard), []).append((shard, row))
    groups = list(by_shard.values())
    crops = decoders.map(
        lambda item: _crop(item[0], item[1], size), [item for group in groups for item in group]
    )
    return Batch(
        keys=tuple(shard.targets.keys[row] for group in groups for shard, row in group),
        crops=torch.from_numpy(np.stack(list(crops))),
        features=tuple(group[0][0].targets.features[[row for _, row in group]] for group in groups),
    )


def _crop(shard: JoinedShard, row: int, size: int) -> UInt8[np.ndarray, "size size 3"]:
    box = Box(*(int(side) for side in shard.targets.boxes[row]))
    return cut(decode_image(shard.images[row]), box, size)
