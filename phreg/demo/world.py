"""The demo's inputs: shards of scenes, the teacher, and the config that `phreg run` takes."""

import io
from pathlib import Path

import webdataset as wds

from phreg.demo.scenes import draw_scene
from phreg.demo.teacher import make_teacher
from phreg.storage import Folder

SHARDS, VALIDATION_SHARDS, SCENES_PER_SHARD = 6, 1, 40
_CONFIG = """\
# Made by `phreg demo`. Everything here can be changed; `phreg plan {config}` says what a change costs.
name: demo
images: {world}/scenes-{{000000..{last_train:06d}}}.tar
validation: {world}/scenes-{{{first_held_out:06d}..{last:06d}}}.tar
output: {output}
teacher:
  model: local-dir:{world}/teacher
targets:
  denoised: {{views: 10}}
  raw: {{views: 1}}
students:
  - name: registers
    targets: denoised
    learning_rate: 1e-3
    epochs: 8
  - name: raw-targets  # the same student without denoising: what do the registers do by themselves?
    targets: raw
    learning_rate: 1e-3
    epochs: 8
evaluation: {{images: 40, targets: denoised}}
"""


def make_demo(output: Path) -> Path:
    """Write scenes, teacher and config below `output`, unless they are there; returns the config's path."""
    world, config = output / "world", output / "demo.yaml"
    folder = Folder(str(world))
    for shard in range(SHARDS + VALIDATION_SHARDS):
        name = f"scenes-{shard:06d}.tar"
        if not folder.exists(name):
            folder.write(name, _draw_shard(shard))
    if not folder.exists("teacher/config.json"):
        make_teacher(folder / "teacher")
    if not config.exists():
        text = _CONFIG.format(
            config=config, world=world, output=output, last_train=SHARDS - 1,
            first_held_out=SHARDS, last=SHARDS + VALIDATION_SHARDS - 1,
        )  # fmt: skip
        Folder(str(output)).write(config.name, text.encode())
    return config


def _draw_shard(shard: int) -> bytes:
    buffer = io.BytesIO()
    with wds.TarWriter(buffer, mtime=0, user="", group="") as tar:
        for index in range(shard * SCENES_PER_SHARD, (shard + 1) * SCENES_PER_SHARD):
            image = io.BytesIO()
            draw_scene(0, index).save(image, format="PNG")
            tar.write({"__key__": f"scene-{index:06d}", "png": image.getvalue()})
    return buffer.getvalue()
