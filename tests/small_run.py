"""A small world for end-to-end tests: shards of images, a tiny teacher, and a config over them."""

from pathlib import Path
from typing import Any

import yaml

from phreg.models import hub_files, load_backbone
from tests.helpers import tiny_clip, tiny_dinov2, write_shard


def save_teacher(folder: Path, kind: str = "dinov2") -> str:
    """A tiny teacher in timm's hub layout; returns its model name."""
    folder.mkdir(parents=True, exist_ok=True)
    vit = tiny_clip() if kind == "clip" else tiny_dinov2()
    for name, data in hub_files(load_backbone(vit)).items():
        (folder / name).write_bytes(data)
    return f"local-dir:{folder}"


def make_config(folder: Path, kind: str = "dinov2", **changes: Any) -> dict[str, Any]:
    """Two training shards and a held-out one of four images, one student; everything under `folder`."""
    for index in range(3):
        path = folder / "shards" / f"tiny-{index:03d}.tar"
        if not path.exists():
            write_shard(path, n=4, seed=index)
    config: dict[str, Any] = {
        "name": "tiny",
        "images": f"{folder}/shards/tiny-{{000..001}}.tar",
        "validation": f"{folder}/shards/tiny-002.tar",
        "output": f"{folder}/run",
        "teacher": {"model": save_teacher(folder / "teacher", kind)},
        "targets": {"denoised": {"views": 4}},
        "students": [{"name": "one", "targets": "denoised", "registers": 2, "batch_size": 4, "epochs": 2}],
        "evaluation": {"images": 4, "shifts": 2, "figures": 1},
    }
    return config | changes


def write_config(folder: Path, kind: str = "dinov2", **changes: Any) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(make_config(folder, kind, **changes)))
    return path
