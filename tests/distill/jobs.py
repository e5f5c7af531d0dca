"""A tiny world to distil in: a saved teacher, shards of JPEGs, committed targets."""

from pathlib import Path

import numpy as np
import torch

from phreg.cache import EncodedFeatures, TargetRows, TargetSpec, TargetStore, TeacherIdentity
from phreg.config.run import StudentConfig, TeacherConfig, TrainingConfig
from phreg.data import cut, decode_image, read_shard
from phreg.distill.job import ShardRef, StudentJob
from phreg.fingerprint import canonical_json
from phreg.models import Backbone, hub_files, load_backbone
from phreg.storage import Folder
from phreg.types import Box
from tests.helpers import tiny_clip, tiny_dinov2, write_shard

IMAGE_SIZE = 32
TEACHERS = {"dinov2": (tiny_dinov2, "standard"), "clip": (tiny_clip, "naclip")}


def make_job(
    folder: Path,
    family: str = "dinov2",
    shards: int = 3,
    images: int = 6,
    training: dict | None = None,
    huge: dict[int, tuple[int, ...]] | None = None,
    variance: bool = False,
    **student: object,
) -> StudentJob:
    """A job whose targets are the teacher's own features, shifted: there is something to learn.

    `huge`: rows of shards whose targets are 1e30: finite, and stored, but no squared error with them is.
    `variance`: they say how sure they are, token p by p.
    """
    build, read_out = TEACHERS[family]
    saved = Folder(str(folder / "teacher"))
    for name, data in hub_files(load_backbone(build(IMAGE_SIZE), read_out=read_out)).items():
        saved.write(name, data)
    config = TeacherConfig(model=f"local-dir:{saved.url}", image_size=IMAGE_SIZE, read_out=read_out)
    teacher = load_backbone(config.model, image_size=IMAGE_SIZE, read_out=read_out)
    encoding = "float32" if huge else "float16"
    store = TargetStore.create(Folder(str(folder / "cache")), make_spec(teacher, encoding, variance))
    refs = [
        _commit(folder / f"photos-{i:03d}.tar", i, images, teacher, store, (huge or {}).get(i, ()))
        for i in range(shards + 1)
    ]
    settings = {"name": "a", "targets": "raw", "registers": 2, "batch_size": 2, "learning_rate": 3e-3}
    return StudentJob(
        student=StudentConfig(**(settings | {"final_learning_rate": 1e-3} | student)),
        teacher=config,
        training=TrainingConfig(
            **({"shuffle_shards": 2, "checkpoint_every": 2, "validate_every": 3} | (training or {}))
        ),
        cache_url=str(folder / "cache"),
        target_digest=store.spec.digest,
        train=tuple(refs[:-1]),
        validation=tuple(refs[-1:]),
    )


def make_spec(teacher: Backbone, encoding: str = "float16", variance: bool = False) -> TargetSpec:
    return TargetSpec(
        teacher=TeacherIdentity(
            architecture=canonical_json(teacher.architecture).decode(), weights=teacher.weights_digest()
        ),
        read_out=teacher.read_out,
        precision="float32",
        image_size=IMAGE_SIZE,
        grid_size=teacher.grid_size,
        dim=teacher.out_dim,
        mean=tuple(teacher.mean.tolist()),
        std=tuple(teacher.std.tolist()),
        min_crop=1.0,
        crops_per_image=1,
        views=1 + variance,
        max_shift=0.0,
        seed=0,
        encoding=encoding,
        variance=variance,
    )


@torch.no_grad()
def _commit(
    path: Path, seed: int, images: int, teacher: Backbone, store: TargetStore, huge: tuple[int, ...]
) -> ShardRef:
    shard = read_shard(str(write_shard(path, images, seed)))
    pictures = [decode_image(sample.image) for sample in shard.samples]
    boxes = [Box(0, 0, min(picture.size)) for picture in pictures]
    crops = np.stack([cut(*pair, IMAGE_SIZE) for pair in zip(pictures, boxes, strict=True)])
    features = teacher(teacher.normalize(torch.from_numpy(crops))).flatten(2).transpose(1, 2).roll(1, dims=1)
    features[list(huge)] = 1e30
    patches = torch.arange(features.shape[1], dtype=torch.float32)
    sure = patches.expand(images, -1) if store.spec.variance else None
    rows = TargetRows(
        keys=[sample.key for sample in shard.samples],
        crops=np.zeros(images, np.int64),
        boxes=np.array(boxes),
        views=np.zeros((images, store.spec.views, 3), np.int64),
        features=EncodedFeatures.encode(features.numpy(), store.spec.encoding, sure),
    )
    store.commit(shard.name, shard.digest, rows, [])
    return ShardRef(shard.name, shard.url, shard.digest)
