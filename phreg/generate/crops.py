"""What a teacher sees of a shard: the crops of its samples, with the views of each.

A crop and its views are functions of (seed, shard, key, crop index) alone, so a target has the same value
whichever actor makes it, in whatever batch.
"""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from phreg.cache import TargetSpec
from phreg.data import CropRule, Sample, Shard, cut, decode_image
from phreg.errors import SampleError
from phreg.method.views import Views, sample_views
from phreg.seeding import derive_seed
from phreg.types import Box, Quarantined


@dataclass(frozen=True, eq=False)
class Crop:
    """One crop: pixels [S, S, 3] at the teacher's size, where it was cut, and its views."""

    key: str
    index: int
    box: Box
    views: Views
    pixels: UInt8[np.ndarray, "S S 3"] = field(repr=False)


def crops_of(spec: TargetSpec, shard: str, sample: Sample) -> list[Crop]:
    """All crops of a sample. Raises `SampleError` if its image cannot be used."""
    image = decode_image(sample.image)
    rule = CropRule(spec.image_size, spec.min_crop, spec.crops_per_image, spec.seed)
    crops = []
    for index in range(spec.crops_per_image):
        box = rule.box(shard, sample.key, index, *image.size)
        seed = derive_seed(spec.seed, "views", shard, sample.key, index)
        views = sample_views(spec.grid_size, spec.views, spec.max_shift, seed)
        crops.append(Crop(sample.key, index, box, views, cut(image, box, spec.image_size)))
    return crops


def read_crops(
    spec: TargetSpec, shard: Shard, ahead: int = 8, threads: int = 2
) -> Generator[list[Crop] | Quarantined, None, None]:
    """Each sample's crops in the shard's order, or why there are none; decoded `ahead` samples before."""
    decoders = ThreadPoolExecutor(threads, "phreg-decode")
    waiting: deque[Future[list[Crop] | Quarantined]] = deque()
    try:
        for sample in shard.samples:
            waiting.append(decoders.submit(_crops_or_reason, spec, shard.name, sample))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        decoders.shutdown(cancel_futures=True)


def _crops_or_reason(spec: TargetSpec, shard: str, sample: Sample) -> list[Crop] | Quarantined:
    try:
        return crops_of(spec, shard, sample)
    except SampleError as error:
        return Quarantined(sample.key, error.problem)
