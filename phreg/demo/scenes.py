"""Procedural scenes: shaded shapes on textured grounds. Deterministic by seed, a few milliseconds each."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from phreg.seeding import derive_rng

COLOURS = ((204, 51, 51), (51, 153, 51), (51, 77, 204), (230, 179, 26), (153, 51, 179), (38, 38, 38))
Pixels = npt.NDArray[np.float32]


def draw_scene(seed: int, index: int, size: int = 160) -> Image.Image:
    """Scene `index` of the world `seed`: an RGB image of size x size pixels."""
    rng = derive_rng(seed, "scene", index)
    scene = _ground(rng, size)
    for _ in range(int(rng.integers(3, 7))):
        mask = _shape(rng, size)
        scene = np.where(mask[..., None], _shaded(rng, size), scene)
    return Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))


def _ground(rng: np.random.Generator, size: int) -> Pixels:
    """Smooth noise at three scales between two tones."""
    noise = sum(_noise(rng, size, cells) / level for level, cells in enumerate((3, 8, 20), 1))
    tones = rng.uniform(60, 200, (2, 3)).astype(np.float32)
    share = np.clip(noise / 1.84, 0, 1)[..., None]
    return tones[0] * share + tones[1] * (1 - share)


def _noise(rng: np.random.Generator, size: int, cells: int) -> Pixels:
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _shape(rng: np.random.Generator, size: int) -> npt.NDArray[np.bool_]:
    """An ellipse, a polygon or a bar, rotated, anywhere in the picture."""
    centre, radius = rng.uniform(0.1, 0.9, 2) * size, rng.uniform(0.08, 0.28) * size
    sides, turn = int(rng.choice([2, 3, 4, 5, 48])), rng.uniform(0, 2 * np.pi)
    angles = turn + np.linspace(0, 2 * np.pi, 4 if sides == 2 else sides, endpoint=False)
    stretch = np.array([1.0, 0.25 if sides == 2 else rng.uniform(0.6, 1)])
    corners = np.stack([np.cos(angles - turn), np.sin(angles - turn)], -1) * stretch * radius
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    canvas = Image.new("1", (size, size))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in corners @ rotation.T + centre], fill=1)
    return np.asarray(canvas)


def _shaded(rng: np.random.Generator, size: int) -> Pixels:
    """A colour with light from one side and a little grain."""
    colour = np.array(COLOURS[rng.integers(len(COLOURS))], np.float32)
    direction = rng.normal(size=2)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    light = 1 + 0.5 * (direction[0] * y + direction[1] * x) / np.linalg.norm(direction)
    grain = rng.normal(0, 6, (size, size, 1))
    return (colour * light[..., None] + grain).astype(np.float32)
