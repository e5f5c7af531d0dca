"""Scenes on disk: WebDataset shards with captions for training, label folders for measuring."""

import io
import json
from collections.abc import Iterable

import numpy as np
import webdataset as wds
from jaxtyping import Shaped
from PIL import Image

from phreg.demo.world.captions import caption
from phreg.demo.world.classes import CLASSES, GROUNDS, KINDS, SHAPES
from phreg.demo.world.scenes import SIZE, Scene, draw_scene
from phreg.seeding import derive_rng
from phreg.storage import Folder

MILLIMETRES = 1000


def shard_bytes(seed: int, indices: Iterable[int], size: int = SIZE) -> bytes:
    """A WebDataset shard of scenes: `KEY.png`, `KEY.txt` (a caption), `KEY.json` (what is in it)."""
    buffer = io.BytesIO()
    with wds.TarWriter(buffer, mtime=0, user="", group="") as tar:
        for index in indices:
            scene = draw_scene(seed, index, size)
            said = caption(derive_rng(seed, "caption", index), scene.ground, scene.things, scene.instances)
            tar.write(
                {
                    "__key__": scene_key(index),
                    "png": png(scene.image),
                    "txt": said.encode(),
                    "json": json.dumps(description(scene)).encode(),
                }
            )
    return buffer.getvalue()


def write_label_folder(folder: Folder, seed: int, indices: Iterable[int], size: int = SIZE) -> None:
    """A labelled set as `kind: folder` reads it, with exact depth.

    `images/KEY.png`, `labels/KEY.png` (class indices), `depth/KEY.png` (16-bit millimetres), `classes.txt`.
    `classes.txt` is written last, so a folder that was empty before and has it is whole.
    """
    for index in indices:
        key, scene = scene_key(index), draw_scene(seed, index, size)
        depth = np.round(scene.depth * MILLIMETRES).astype(np.uint16)
        for kind, pixels in (("images", scene.image), ("labels", scene.labels), ("depth", depth)):
            folder.write(f"{kind}/{key}.png", png(pixels))
    folder.write("classes.txt", "".join(f"{', '.join(names)}\n" for names in CLASSES).encode())


def scene_key(index: int) -> str:
    return f"scene-{index:06d}"


def description(scene: Scene) -> dict[str, object]:
    """Ground and things by name, in plain data."""
    things = [
        {"class": KINDS[thing.kind].names[0], "shape": SHAPES[thing.shape], "depth": round(thing.depth, 3)}
        for thing in scene.things
    ]
    return {"ground": GROUNDS[scene.ground].names[0], "things": things}


def png(pixels: Shaped[np.ndarray, "..."]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
