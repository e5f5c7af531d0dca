"""The demo's inputs: shards of scenes, a labelled set of other scenes, and the configs it runs."""

import json
import os
from pathlib import Path

from phreg.data import pack_images
from phreg.demo.world.write import shard_bytes, write_label_folder
from phreg.errors import ConfigError, ObjectNotFoundError
from phreg.models import clip_directory, hub
from phreg.models.hub_config import parse_hub_config
from phreg.storage import Folder

SHARDS, VALIDATION_SHARDS, SCENES_PER_SHARD, LABELLED = 6, 1, 40, 60
SEED = 0
_RUN = """\
# Made by `phreg demo`. Everything here can be changed; `phreg plan {config}` says what a change costs.
name: demo
images: {train}
validation: {validation}
output: {output}
teacher: {teacher}
targets:
  denoised: {{views: 10}}
  raw: {{views: 1}}
students:
  - &student {{name: registers, targets: denoised, {training}}}
  - {{<<: *student, name: raw-targets, targets: raw}}  # the same without denoising
evaluation: {{images: 40, targets: denoised}}
"""
_LABELS = """\
labels:
  sets:
    - {{name: scenes, kind: folder, root: {world}/labelled}}
"""
_GATE = """\
gate:
  rules:
    - {{metric: shift_cosine_mean, against: teacher}}
    - {{metric: class_token_cosine, against: teacher, not_worse_than: 0.2}}
    - {{metric: target_cosine_p50, against: champion}}
"""
_LABELLED_RULE = """\
    - {{metric: scenes.miou, against: teacher, not_worse_than: 2}}  # the teacher as students are read, too
"""
_TABLE = """\
# Made by `phreg demo`: `phreg table {table}` measures the run's students beside methods that train nothing.
name: demo
title: Open-vocabulary segmentation of {labelled} scenes that no model has seen
run: {run}
teacher_rows:
  - {{name: MaskCLIP (value), read_out: value}}
  - {{name: SCLIP (csa), read_out: csa}}
  - {{name: NACLIP (naclip), read_out: naclip}}
  - {{name: ClearCLIP (qq), read_out: qq}}
  - {{name: denoised teacher (10 passes), read_out: naclip, views: 10}}
"""


def make_demo(
    output: Path, weights: str | None = None, photos: str | None = None
) -> tuple[Path, Path | None]:
    """Write scenes and configs below `output`, unless they are there; returns the run's and the table's.

    `weights`: a folder with a ViT in timm's or open_clip's hub layout, instead of the small CLIP. `photos`: a
    folder of images, instead of scenes. Without labels, or a text tower to name them, there is no table.
    """
    run, table = output / "demo.yaml", output / "table.yaml"
    teacher = _teacher(weights)
    train, validation = _pack(photos, output / "photos") if photos else _draw(output / "world")
    labelled = not photos and "local-dir:" not in teacher  # class names need a text tower
    if labelled:
        _draw_labelled(output / "world")
    text = _RUN + _LABELS + _GATE + _LABELLED_RULE if labelled else _RUN + _GATE
    known = {
        "config": run, "table": table, "run": run.name, "world": output / "world", "output": output,
        "labelled": LABELLED, "train": train, "validation": validation, "teacher": teacher,
        "training": "learning_rate: 5e-4, epochs: 8" if weights is None else "epochs: 1",
    }  # fmt: skip
    asked = (f"teacher: {teacher}", f"images: {train}")
    if (weights or photos) and run.exists() and not {*asked} <= {*run.read_text().splitlines()}:
        raise ConfigError(
            f"{output} holds a demo of another teacher, or of other images", remedy="give another --output"
        )
    for path, content in ((run, text), (table, _TABLE)):
        if not path.exists() and (path == run or labelled):
            Folder(str(output)).write(path.name, content.format_map(known).encode())
    return run, table if table.exists() else None


def _teacher(weights: str | None) -> str:
    """The teacher as a config has it. CLIPs are read as NACLIP does, as the paper's targets are."""
    if weights is None:
        return "{model: phreg/small-clip, image_size: 128, read_out: naclip}  # trained at 64 pixels"
    folder = Folder(os.path.abspath(weights))
    if folder.exists(clip_directory.CONFIG_FILE):
        return f"{{model: {json.dumps(f'open_clip-dir:{folder.url}')}, read_out: naclip}}"
    try:
        config = parse_hub_config(folder.read(hub.CONFIG_FILE), folder.url_of(hub.CONFIG_FILE))
    except ObjectNotFoundError:
        raise ConfigError(
            f"{folder.url} holds no ViT",
            expected=f"{hub.CONFIG_FILE} (timm's hub layout) or {clip_directory.CONFIG_FILE} (open_clip's)",
            remedy="name such a folder with --weights, or leave it out for the small CLIP in the package",
        ) from None
    read_out = ", read_out: naclip" if "clip" in config.architecture else ""
    return f"{{model: {json.dumps(f'local-dir:{folder.url}')}{read_out}}}"


def _draw(world: Path) -> tuple[str, str]:
    """Shards of scenes, unless they are there: those to train on, and one held out."""
    folder = Folder(str(world))
    for shard in range(SHARDS + VALIDATION_SHARDS):
        name = f"scenes-{shard:06d}.tar"
        if not folder.exists(name):
            first = shard * SCENES_PER_SHARD
            folder.write(name, shard_bytes(SEED, range(first, first + SCENES_PER_SHARD)))
    train = f"{world}/scenes-{{000000..{SHARDS - 1:06d}}}.tar"
    return train, f"{world}/scenes-{{{SHARDS:06d}..{SHARDS + VALIDATION_SHARDS - 1:06d}}}.tar"


def _draw_labelled(world: Path) -> None:
    folder = Folder(str(world / "labelled"))
    if not folder.exists("classes.txt"):
        first = (SHARDS + VALIDATION_SHARDS) * SCENES_PER_SHARD
        write_label_folder(folder, SEED, range(first, first + LABELLED))


def _pack(photos: str, out: Path) -> tuple[str, str]:
    """Shards of a folder's images, the last one held out."""
    shards = pack_images(photos, out, SCENES_PER_SHARD).shards
    if len(shards) < 2:
        raise ConfigError(
            f"{photos} holds too few images for the demo",
            expected=f"more than {SCENES_PER_SHARD}: the last {SCENES_PER_SHARD} or fewer are held out",
        )
    return json.dumps([*shards[:-1]]), json.dumps(shards[-1])
