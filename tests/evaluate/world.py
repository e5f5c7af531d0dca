"""A tiny world to evaluate in: a backbone, shards of JPEGs, and committed targets of two crops an image."""

from pathlib import Path

import numpy as np
import torch

from phreg.cache import EncodedFeatures, TargetRows, TargetSpec, TargetStore, TeacherIdentity
from phreg.data import CropRule, cut, decode_image, read_shard, shard_name
from phreg.method.denoising import denoise
from phreg.method.views import sample_views
from phreg.models import Backbone, load_backbone
from phreg.storage import Folder
from phreg.types import Box, Quarantined
from tests.helpers import tiny_dinov2, write_shard

SIZE = 32
RULE = CropRule(image_size=SIZE, min_crop=0.5, crops_per_image=2, seed=0)
VIEWS = 3


def make_backbone(seed: int = 0) -> Backbone:
    return load_backbone(tiny_dinov2(SIZE, seed))


def make_store(folder: Path, backbone: Backbone, seed: int = 0) -> TargetStore:
    spec = TargetSpec(
        teacher=TeacherIdentity(architecture="tiny", weights=backbone.weights_digest()),
        read_out=backbone.read_out,
        precision="float32",
        image_size=SIZE,
        grid_size=backbone.grid_size,
        dim=backbone.out_dim,
        mean=tuple(backbone.mean.tolist()),
        std=tuple(backbone.std.tolist()),
        min_crop=RULE.min_crop,
        crops_per_image=RULE.crops_per_image,
        views=VIEWS,
        max_shift=0.3,
        seed=seed,
        encoding="float32",
    )
    return TargetStore.create(Folder(str(folder / "cache")), spec)


def add_shard(
    folder: Path,
    store: TargetStore,
    backbone: Backbone,
    index: int,
    images: int,
    without: tuple[int, ...] = (),
) -> str:
    """Write a shard and commit its targets, but for the images in `without`, which are quarantined."""
    url = str(write_shard(folder / "shards" / f"held-{index:06d}.tar", images, seed=index))
    shard = read_shard(url)
    rows = [
        (sample.key, crop, RULE.box(shard.name, sample.key, crop, *decode_image(sample.image).size))
        for i, sample in enumerate(shard.samples)
        for crop in range(RULE.crops_per_image)
        if i not in without
    ]
    crops = np.stack([crop_of(url, key, box) for key, _, box in rows])
    views = sample_views(backbone.grid_size, VIEWS, 0.3, seed=index)
    targets = denoise(backbone, backbone.normalize(torch.from_numpy(crops)), views)
    plan = np.concatenate([views.offsets, views.flips[:, None]], axis=1)
    store.commit(
        shard_name(url),
        shard.digest,
        TargetRows(
            keys=[key for key, _, _ in rows],
            crops=np.array([crop for _, crop, _ in rows]),
            boxes=np.array([box for _, _, box in rows]),
            views=np.repeat(plan[None], len(rows), 0),
            features=EncodedFeatures.encode(targets.flatten(2).transpose(1, 2), "float32"),
        ),
        [Quarantined(shard.samples[i].key, "for a test") for i in without],
    )
    return url


def crop_of(url: str, key: str, box: Box) -> np.ndarray:
    image = next(sample.image for sample in read_shard(url).samples if sample.key == key)
    return cut(decode_image(image), box, SIZE)
