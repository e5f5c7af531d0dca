from dataclasses import replace

import numpy as np
import open_clip

from phreg.demo.world.captions import SHAPE_NAMES, caption
from phreg.demo.world.classes import GROUNDS, KINDS, SHAPES
from phreg.demo.world.scenes import Thing, draw_scene
from phreg.seeding import derive_rng

RED = Thing(kind=0, shape=0, x=0.5, y=0.5, radius=0.2, turn=0.0, period=0.06, light=0.0, depth=4.0)


def said(instances: np.ndarray, things: tuple[Thing, ...], count: int = 60, ground: int = 0) -> list[str]:
    rng = derive_rng(0, "test")
    return [caption(rng, ground, things, instances) for _ in range(count)]


def test_only_what_is_seen_is_named() -> None:
    instances = np.zeros((20, 20), np.uint8)
    instances[:10] = 1
    blue = replace(RED, kind=next(i for i, kind in enumerate(KINDS) if kind.colour == "blue"))
    captions = said(instances, (RED, blue))
    assert any("red striped" in text for text in captions)
    assert not any("blue" in text for text in captions)
    assert any(name in text for text in captions for name in GROUNDS[0].names)
    assert not any(name in text for text in captions for name in GROUNDS[2].names)


def test_a_view_full_of_one_thing_names_no_ground() -> None:
    captions = said(np.ones((8, 8), np.uint8), (RED,))
    assert all("red striped" in text for text in captions)
    assert any("large" in text for text in captions)
    assert not any(f" {name}" in text for text in captions for name in GROUNDS[0].names)


def test_shape_is_told_truly_and_half_the_captions_name_one_thing() -> None:
    scene = draw_scene(0, 1)
    captions = said(scene.instances, scene.things, 300, scene.ground)
    there = {SHAPES[thing.shape] for thing in scene.things}
    for shape in set(SHAPES) - there:
        assert not any(f" {name}" in text for text in captions for name in SHAPE_NAMES[shape])
    single = [text for text in captions if " and " not in text]
    assert 0.3 < len(single) / len(captions) < 0.75


def test_the_templates_of_zero_shot_use_occur() -> None:
    captions = said(np.ones((8, 8), np.uint8), (RED,), 400)
    starts = {template("X").partition("X")[0] for template in open_clip.OPENAI_IMAGENET_TEMPLATES}
    used = {start for start in starts if any(text.startswith(start) for text in captions)}
    assert len(used) > 50
