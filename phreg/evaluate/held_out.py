"""Held-out crops: the first validation images, cut as their cached targets were."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phreg.cache import EncodedFeatures, TargetRows, TargetStore
from phreg.data import Shard, cut, decode_image, read_shard, shard_name
from phreg.errors import ContentMismatchError, MissingTargetsError
from phreg.progress import tell
from phreg.types import Box

CROP = 0
"""Of each image, the crop that is measured."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """n crops of S x S pixels, with their sample keys and, where there are any, targets (float32) and the
    variance of their tokens."""

    keys: tuple[str, ...]
    crops: UInt8[np.ndarray, "n S S 3"] = field(repr=False)
    targets: Float[Tensor, "n P C"] | None = field(repr=False)
    variance: Float[Tensor, "n P"] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class HeldOutShard:
    """A committed shard of which the first `images` images are held out."""

    url: str
    name: str
    digest: str
    images: int


def held_out_shards(store: TargetStore, urls: Sequence[str], count: int) -> tuple[HeldOutShard, ...]:
    """The shards that hold the first `count` images with targets, from the commit records alone.

    Raises `MissingTargetsError` for a shard without targets, and if there is no image at all.
    """
    chosen: list[HeldOutShard] = []
    left = count
    for url in urls:
        if left == 0:
            break
        name = shard_name(url)
        record = store.record(name)
        if record is None:
            raise MissingTargetsError(
                f"There are no targets for the held-out shard {url}",
                expected=f"a commit record for {name!r} in {store.folder.url}",
                remedy="generate them first; `phreg run` does that by itself",
            )
        images = min(left, record.rows // store.spec.crops_per_image)
        if images:
            chosen.append(HeldOutShard(url, name, record.shard_digest, images))
        left -= images
    if not chosen:
        raise MissingTargetsError(
            "There are no held-out images to measure",
            expected="at least one validation shard with a usable image",
            found=", ".join(urls[:3]) or "no validation shards",
        )
    return tuple(chosen)


def held_out(store: TargetStore, urls: Sequence[str], count: int) -> HeldOut:
    """The first `count` held-out crops (fewer if there are fewer) and their targets, joined by key.

    Raises `ContentMismatchError` if a shard is not the one its targets were made from.
    """
    keys: list[str] = []
    crops: list[np.ndarray] = []
    encoded: list[EncodedFeatures] = []
    for place in held_out_shards(store, urls, count):
        tell(f"reading the held-out shard {place.name}")
        shard = read_shard(place.url)
        rows = store.read(place.name, shard.digest)
        first = np.flatnonzero(rows.crops == CROP)[: place.images]
        keys += [rows.keys[row] for row in first]
        crops += _crops(shard, rows, first, store.spec.image_size)
        encoded.append(rows.features[first])
    variances = [variance for part in encoded if (variance := part.variance()) is not None]
    return HeldOut(
        tuple(keys),
        np.stack(crops),
        torch.cat([part.decode() for part in encoded]),
        torch.cat(variances) if variances else None,
    )


def _crops(shard: Shard, rows: TargetRows, chosen: np.ndarray, size: int) -> list[np.ndarray]:
    images = {sample.key: sample.image for sample in shard.samples}
    missing = [rows.keys[row] for row in chosen if rows.keys[row] not in images]
    if missing:
        raise ContentMismatchError(
            f"The shard {shard.url} lacks samples that its targets name",
            expected=f"a sample {missing[0]!r}",
            found=f"{len(images)} others",
            remedy="check the targets with `phreg cache verify`",
        )
    return [
        cut(decode_image(images[rows.keys[row]]), Box(*(int(x) for x in rows.boxes[row])), size)
        for row in chosen
    ]
