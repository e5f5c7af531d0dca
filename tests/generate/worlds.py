"""A tiny teacher on disk, with a target store to fill."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from timm.models.vision_transformer import VisionTransformer

from phreg.cache import TargetSpec, TargetStore
from phreg.config.run import TargetConfig, TeacherConfig
from phreg.generate import TargetGenerator, target_spec
from phreg.models import hub_files, load_backbone, load_teacher
from phreg.storage import Folder
from tests.helpers import tiny_dinov2

SIZE = 32


@dataclass(frozen=True)
class World:
    teacher: TeacherConfig
    spec: TargetSpec
    cache: Folder

    @property
    def store(self) -> TargetStore:
        return TargetStore.open(self.cache, self.spec.digest)

    def generator(self, **options: Any) -> TargetGenerator:
        return TargetGenerator(partial(load_teacher, self.teacher), self.store, **options)

    def with_cache(self, cache: Folder) -> "World":
        """The same, filling another store."""
        TargetStore.create(cache, self.spec)
        return World(self.teacher, self.spec, cache)


def make_world(
    folder: Path,
    precision: str = "float32",
    seed: int = 0,
    vit: VisionTransformer | None = None,
    **target: Any,
) -> World:
    """`vit`: the teacher, a small DINOv2 by default."""
    saved = Folder(str(folder / "teacher"))
    for name, data in hub_files(load_backbone(vit or tiny_dinov2(SIZE))).items():
        saved.write(name, data)
    config = TeacherConfig(model=f"local-dir:{saved.url}", image_size=SIZE, precision=precision)
    settings = TargetConfig(**({"views": 4, "max_shift": 0.3} | target))
    spec = target_spec(load_teacher(config), config, settings, seed)
    cache = Folder(str(folder / "cache"))
    TargetStore.create(cache, spec)
    return World(config, spec, cache)
