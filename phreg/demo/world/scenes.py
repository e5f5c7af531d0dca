"""Procedural scenes: shaded things on a textured ground that runs to the horizon, with exact labels.

A scene is a pure function of (seed, index); it is described in units of the image's side and drawn at any
size. Things stand on the ground at some depth: what is nearer is larger, lower, and hides what is behind.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from phreg.demo.world.classes import COLOURS, GROUNDS, KINDS, SHAPES, TONES
from phreg.demo.world.shapes import inside
from phreg.demo.world.textures import draw_ground, pattern
from phreg.seeding import derive_rng

NEAR, FAR = 2.0, 8.0
"""Depth of the ground in metres at the lower and the upper edge of the picture."""
SIZE = 128
"""Pixels of a scene's side, where nothing else is asked for."""


@dataclass(frozen=True)
class Thing:
    """One thing: indices of kind and shape; centre, radius and pattern period in image sides; metres."""

    kind: int
    shape: int
    x: float
    y: float
    radius: float
    turn: float
    period: float
    light: float
    depth: float


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn scene. `things[i]` covers the pixels where `instances == i + 1`; 0 is ground.

    `labels`: class index per pixel; `depth`: metres.
    """

    ground: int
    things: tuple[Thing, ...]
    image: UInt8[np.ndarray, "S S 3"] = field(repr=False)
    instances: UInt8[np.ndarray, "S S"] = field(repr=False)
    labels: UInt8[np.ndarray, "S S"] = field(repr=False)
    depth: Float[np.ndarray, "S S"] = field(repr=False)


def draw_scene(seed: int, index: int, size: int = SIZE) -> Scene:
    """Scene `index` of the world `seed`, size x size pixels."""
    rng = derive_rng(seed, "scene", index)
    ground = int(rng.integers(len(GROUNDS)))
    things = _place_things(rng)
    y = (np.arange(size) + 0.5) / size
    depth = np.repeat(np.array(_ground_depth(y), np.float32)[:, None], size, axis=1)
    pixels = draw_ground(rng, GROUNDS[ground], size)
    instances = np.zeros((size, size), np.uint8)
    for i, thing in enumerate(things):
        _draw_thing(thing, i + 1, pixels, instances, depth)
    pixels += rng.normal(0, 4, (size, size, 1)).astype(np.float32)
    of_instance = np.array([ground, *(len(GROUNDS) + thing.kind for thing in things)], np.uint8)
    image = np.clip(pixels, 0, 255).astype(np.uint8)
    return Scene(ground, things, image, instances, of_instance[instances], depth)


def _place_things(rng: np.random.Generator) -> tuple[Thing, ...]:
    """Three to six things, the farthest first."""
    things = []
    for _ in range(int(rng.integers(3, 7))):
        y = rng.uniform(0.12, 0.88)
        depth = float(_ground_depth(y))
        things.append(
            Thing(
                kind=int(rng.integers(len(KINDS))),
                shape=int(rng.integers(len(SHAPES))),
                x=rng.uniform(0.08, 0.92),
                y=y,
                radius=rng.uniform(0.8, 1.25) * (0.15 + 0.25 / depth),
                turn=rng.uniform(0, 2 * np.pi),
                period=rng.uniform(0.05, 0.075),
                light=rng.uniform(0, 2 * np.pi),
                depth=depth,
            )
        )
    return tuple(sorted(things, key=lambda thing: -thing.depth))


def _ground_depth(y: Any) -> Any:
    """A plane seen from above it: the inverse of depth is linear in the row."""
    return 1 / (1 / FAR + (1 / NEAR - 1 / FAR) * y)


def _draw_thing(
    thing: Thing,
    number: int,
    pixels: Float[np.ndarray, "S S 3"],
    instances: UInt8[np.ndarray, "S S"],
    depth: Float[np.ndarray, "S S"],
) -> None:
    """Paint over what is there, within the thing's bounding box."""
    size = len(instances)
    rows, columns = (
        slice(max(0, int((c - thing.radius) * size)), int((c + thing.radius) * size) + 2)
        for c in (thing.y, thing.x)
    )
    y = ((np.arange(size, dtype=np.float32)[rows] + 0.5) / size - thing.y)[:, None]
    x = ((np.arange(size, dtype=np.float32)[columns] + 0.5) / size - thing.x)[None, :]
    u = (np.cos(thing.turn) * x + np.sin(thing.turn) * y) / thing.radius
    v = (np.cos(thing.turn) * y - np.sin(thing.turn) * x) / thing.radius
    mask = inside(SHAPES[thing.shape], u, v)
    kind = KINDS[thing.kind]
    share = pattern(kind.material, u * thing.radius / thing.period, v * thing.radius / thing.period)[
        ..., None
    ]
    tone, colour = (np.array(c, np.float32) for c in (TONES[kind.material], COLOURS[kind.colour]))
    shade = 1 + 0.35 * (np.cos(thing.light) * x + np.sin(thing.light) * y)[..., None] / thing.radius
    bulge = 0.15 * thing.depth * np.sqrt(np.clip(1 - u**2 - v**2, 0, None))
    pixels[rows, columns][mask] = ((share * tone + (1 - share) * colour) * shade)[mask]
    instances[rows, columns][mask] = number
    depth[rows, columns][mask] = (thing.depth - bulge)[mask]
