"""Textures: of the grounds, and the materials of things."""

import numpy as np
from jaxtyping import Float
from PIL import Image

from phreg.demo.world.classes import Ground


def pattern(
    material: str, u: Float[np.ndarray, "h w"], v: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w"]:
    """Where a material shows its second tone (1) or the thing's colour (0); u and v in periods."""
    if material == "striped":
        return (u % 1 < 0.45).astype(np.float32)
    if material == "dotted":
        return (np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.33).astype(np.float32)
    if material == "checked":
        return ((u % 1 < 0.5) ^ (v % 1 < 0.5)).astype(np.float32)
    raise ValueError(f"there is no material {material!r}")


def draw_ground(rng: np.random.Generator, ground: Ground, size: int) -> Float[np.ndarray, "S S 3"]:
    """The ground's texture between its two tones, under a light that changes slowly over the picture."""
    share = 0.65 * _TEXTURES[ground.texture](rng, size) + 0.35 * _noise(rng, size, 4, 4)
    dark, light = np.array(ground.dark, np.float32), np.array(ground.light, np.float32)
    shade = (0.85 + 0.3 * _noise(rng, size, 2, 2))[..., None]
    return (dark + np.clip(share, 0, 1)[..., None] * (light - dark)) * shade


def _noise(rng: np.random.Generator, size: int, rows: int, columns: int) -> Float[np.ndarray, "S S"]:
    """Smooth noise in [0, 1] with about so many cells down and across."""
    coarse = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)).clip(0, 1)


def _blades(rng: np.random.Generator, size: int) -> Float[np.ndarray, "S S"]:
    return np.asarray(0.5 * _noise(rng, size, 22, 60) + 0.5 * _noise(rng, size, 34, 90), np.float32)


def _grain(rng: np.random.Generator, size: int) -> Float[np.ndarray, "S S"]:
    return np.asarray(0.3 + 0.4 * _noise(rng, size, 64, 64), np.float32)


def _waves(rng: np.random.Generator, size: int) -> Float[np.ndarray, "S S"]:
    y, x = _coordinates(size)
    bend = 0.03 * np.sin(2 * np.pi * (x * rng.uniform(1, 3) + rng.random()))
    crests = 0.5 + 0.5 * np.sin(2 * np.pi * ((y + bend) * rng.uniform(11, 15) + rng.random()))
    return np.asarray(0.8 * crests + 0.2 * _noise(rng, size, 16, 8), np.float32)


def _bricks(rng: np.random.Generator, size: int) -> Float[np.ndarray, "S S"]:
    y, x = _coordinates(size)
    rows = y * rng.uniform(11, 14) + rng.random()
    columns = x * rng.uniform(5, 7) + rng.random() + 0.5 * (np.floor(rows) % 2)
    joint = (rows % 1 < 0.2) | (columns % 1 < 0.1)
    return np.where(joint, 1.3, 0.5 * _noise(rng, size, 12, 8)).astype(np.float32)


def _pebbles(rng: np.random.Generator, size: int) -> Float[np.ndarray, "S S"]:
    return np.asarray((_noise(rng, size, 26, 26) - 0.5) * 2.2 + 0.5, np.float32)


def _coordinates(size: int) -> tuple[Float[np.ndarray, "S 1"], Float[np.ndarray, "1 S"]]:
    along = (np.arange(size, dtype=np.float32) + 0.5) / size
    return along[:, None], along[None, :]


_TEXTURES = {"blades": _blades, "grain": _grain, "waves": _waves, "bricks": _bricks, "pebbles": _pebbles}
