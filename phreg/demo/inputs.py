"""The demo's inputs: shards of scenes, a labelled set of other scenes, and the configs it runs."""

from pathlib import Path

from phreg.demo.world.write import shard_bytes, write_label_folder
from phreg.storage import Folder

SHARDS, VALIDATION_SHARDS, SCENES_PER_SHARD, LABELLED = 6, 1, 40, 60
SEED = 0
_RUN = """\
# Made by `phreg demo`. Everything here can be changed; `phreg plan {config}` says what a change costs.
name: demo
images: {world}/scenes-{{000000..{last_train:06d}}}.tar
validation: {world}/scenes-{{{first_held_out:06d}..{last:06d}}}.tar
output: {output}
teacher: {{model: phreg/small-clip, image_size: 128, read_out: naclip}}  # trained at 64 pixels
targets:
  denoised: {{views: 10}}
  raw: {{views: 1}}
students:
  - &student {{name: registers, targets: denoised, learning_rate: 5e-4, epochs: 8}}
  - {{<<: *student, name: raw-targets, targets: raw}}  # the same without denoising
evaluation: {{images: 40, targets: denoised}}
labels:
  sets:
    - {{name: scenes, kind: folder, root: {world}/labelled}}
gate:
  rules:
    - {{metric: shift_cosine_mean, against: teacher}}
    - {{metric: scenes.miou, against: teacher, not_worse_than: 2}}  # the teacher as students are read, too
    - {{metric: class_token_cosine, against: teacher, not_worse_than: 0.2}}
    - {{metric: target_cosine_p50, against: champion}}
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


def make_demo(output: Path) -> tuple[Path, Path]:
    """Write scenes and configs below `output`, unless they are there; returns the run's and the table's."""
    world, run, table = output / "world", output / "demo.yaml", output / "table.yaml"
    folder = Folder(str(world))
    for shard in range(SHARDS + VALIDATION_SHARDS):
        name = f"scenes-{shard:06d}.tar"
        if not folder.exists(name):
            first = shard * SCENES_PER_SHARD
            folder.write(name, shard_bytes(SEED, range(first, first + SCENES_PER_SHARD)))
    if not folder.exists("labelled/classes.txt"):
        first = (SHARDS + VALIDATION_SHARDS) * SCENES_PER_SHARD
        write_label_folder(folder / "labelled", SEED, range(first, first + LABELLED))
    known = {
        "config": run, "table": table, "run": run.name, "world": world, "output": output,
        "labelled": LABELLED, "last_train": SHARDS - 1, "first_held_out": SHARDS,
        "last": SHARDS + VALIDATION_SHARDS - 1,
    }  # fmt: skip
    for path, text in ((run, _RUN), (table, _TABLE)):
        if not path.exists():
            Folder(str(output)).write(path.name, text.format_map(known).encode())
    return run, table
