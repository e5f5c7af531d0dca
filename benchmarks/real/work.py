"""What all parts of the benchmark stand on: the files of one user, the teacher, targets, jobs of students."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.real.protocols import camvid, voc
from benchmarks.real.students import job_of
from benchmarks.real.targets import held_out_shard, make_targets
from benchmarks.real.trunk import Trunk
from benchmarks.real.weights import clip_folder
from phreg.config.run import StudentConfig, TargetConfig, TeacherConfig
from phreg.config.stages import Precision
from phreg.data import cut_middle, decode_image, read_shard
from phreg.distill.job import StudentJob
from phreg.models import load_teacher

SHARDS = ("voc/train-000000.tar", "photos/photos-000000.tar")
HELD_OUT = "voc/train-000005.tar"
READ_OUTS = ("naclip", "value", "qq")


class Work:
    """The files of one user."""

    def __init__(self, weights: Path, data: Path, out: Path, precision: Precision, short_side: int) -> None:
        self.weights, self.data = weights, data
        self.out, self.cache = out, str(out / "cache")
        self.teacher = TeacherConfig(
            model=f"local-dir:{clip_folder(weights, out)}",
            image_size=224,
            precision=precision,
            read_out="naclip",
        )
        self.shards = [data / name for name in SHARDS]
        self.held = held_out_shard(data / HELD_OUT, out / "shards")
        self.benches = [voc(weights, data, out, 60), camvid(weights, data, out, 16)]
        self.windows = [
            voc(weights, data, out, 60, windows=True),
            camvid(weights, data, out, 16, windows=True),
        ]
        self.few = voc(weights, data, out, 30, short_side=short_side)
        self.trunk = Trunk(load_teacher(self.teacher), precision)

    def targets(self, read_outs: tuple[str, ...] = READ_OUTS, **options: Any) -> dict[str, str]:
        """Digests by read-out, of targets that are there then."""
        config = TargetConfig.model_validate(options)
        shards = [self.held, *self.shards]
        return make_targets(self.teacher, self.trunk, read_outs, config, shards, self.cache)

    def photos(self, path: Path, count: int) -> Tensor:
        """The first of a shard, cut to 224 px."""
        samples = read_shard(str(path)).samples[:count]
        crops = [cut_middle(decode_image(sample.image), 224, 224) for sample in samples]
        return self.trunk.backbone.normalize(torch.from_numpy(np.stack(crops)))

    def job(
        self, digest: str, options: Mapping[str, Any], teacher: TeacherConfig | None = None
    ) -> StudentJob:
        """Three epochs of batches of 4, as `value`, where `options` do not say otherwise."""
        student = StudentConfig.model_validate(
            {"name": "student", "targets": "x", "read_out": "value", "epochs": 3, "batch_size": 4,
             "precision": self.teacher.precision, **options}
        )  # fmt: skip
        shards = [str(path) for path in self.shards]
        return job_of(student, teacher or self.teacher, self.cache, digest, shards, str(self.held))
