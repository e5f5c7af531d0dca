"""Training pairs of the small CLIP: random crops of drawn scenes, captioned by what is left in view."""

from collections.abc import Iterator
from multiprocessing.context import SpawnContext

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from phreg.demo.world.captions import caption
from phreg.demo.world.scenes import SIZE, Scene, draw_scene
from phreg.seeding import derive_rng

MIN_CROP = 0.5
"""Smallest side of a crop as a share of the scene's: there a pixel is what it will be at the size of use."""

MARGINS, MARGIN = 0.3, 0.25
"""Share of pictures with white margins, as many on the web have; the widest, as a share of the side."""


def draw_scenes(seed: int, start: int, count: int, processes: int) -> list[Scene]:
    """Scenes `start` to `start + count` of the world `seed`, drawn side by side."""
    with SpawnContext().Pool(processes) as pool:
        return pool.starmap(draw_scene, ((seed, start + i) for i in range(count)), chunksize=250)


def pairs(
    scenes: list[Scene], seed: int, batch: int, image_size: int
) -> Iterator[tuple[UInt8[torch.Tensor, "B 3 S S"], list[str]]]:
    """Endless batches; which scene is cut how, and what is said of it, depend on the seed alone."""
    rng = derive_rng(seed, "pairs")
    batch = min(batch, len(scenes))
    while True:
        order = rng.permutation(len(scenes))
        for first in range(0, len(order) - batch + 1, batch):
            cut = [_pair(rng, scenes[i], image_size) for i in order[first : first + batch]]
            images = torch.from_numpy(np.stack([image for image, _ in cut])).permute(0, 3, 1, 2)
            yield images, [text for _, text in cut]


def _pair(rng: np.random.Generator, scene: Scene, size: int) -> tuple[UInt8[np.ndarray, "S S 3"], str]:
    side = int(rng.integers(int(MIN_CROP * SIZE), SIZE + 1))
    top, left = rng.integers(SIZE - side + 1, size=2)
    window = (slice(top, top + side), slice(left, left + side))
    image, instances = scene.image[window], scene.instances[window]
    pixels = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
        instances = instances[:, ::-1]
    if rng.random() < MARGINS:
        pixels, instances = _with_margin(rng, pixels, instances)
    return pixels, caption(rng, scene.ground, scene.things, instances)


def _with_margin(
    rng: np.random.Generator, pixels: UInt8[np.ndarray, "S S 3"], instances: UInt8[np.ndarray, "w w"]
) -> tuple[UInt8[np.ndarray, "S S 3"], UInt8[np.ndarray, "h v"]]:
    """The picture moved over a white page; what is left in view is what a caption may name."""
    dy, dx = rng.uniform(-MARGIN, MARGIN, 2)
    size, side = len(pixels), len(instances)
    page = np.full_like(pixels, 255)
    page[_to(dy, size), _to(dx, size)] = pixels[_to(-dy, size), _to(-dx, size)]
    return page, instances[_to(-dy, side), _to(-dx, side)]


def _to(shift: float, size: int) -> slice:
    """Where a line of `size` pixels still is when moved by a share of it."""
    moved = round(shift * size)
    return slice(max(0, moved), size + min(0, moved))
