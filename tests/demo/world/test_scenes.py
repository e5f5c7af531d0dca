import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.demo.world.classes import CLASSES, COLOURS, GROUNDS, KINDS, SHAPES, TONES
from phreg.demo.world.scenes import FAR, NEAR, draw_scene
from phreg.demo.world.shapes import inside
from phreg.demo.world.textures import pattern


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.integers(32, 160))
def test_scenes_are_exact(seed: int, index: int, size: int) -> None:
    scene = draw_scene(seed, index, size)
    assert scene.image.shape == (size, size, 3)
    assert scene.labels.shape == scene.depth.shape == scene.instances.shape == (size, size)
    assert (scene.labels[scene.instances == 0] == scene.ground).all()
    for i, thing in enumerate(scene.things):
        seen = scene.instances == i + 1
        assert (scene.labels[seen] == len(GROUNDS) + thing.kind).all()
        assert (scene.depth[seen] <= np.float32(thing.depth)).all()
        assert (scene.depth[seen] >= np.float32(0.84 * thing.depth)).all()
    ground = scene.depth[scene.instances == 0]
    assert ((ground > NEAR * 0.99) & (ground < FAR * 1.01)).all()


def test_a_scene_is_a_function_of_seed_and_index() -> None:
    first = draw_scene(0, 3)
    again, other, elsewhere = draw_scene(0, 3), draw_scene(0, 4), draw_scene(1, 3)
    assert (first.image == again.image).all()
    assert (first.depth == again.depth).all()
    assert first.things == again.things
    assert (first.image != other.image).any()
    assert (first.image != elsewhere.image).any()


def test_the_nearer_thing_hides_the_farther() -> None:
    hidden = 0
    for index in range(40):
        scene = draw_scene(0, index)
        depths = [thing.depth for thing in scene.things]
        assert depths == sorted(depths, reverse=True)
        covered = np.bincount(scene.instances.ravel(), minlength=len(depths) + 1)
        assert covered[len(depths)] > 0  # the nearest is never hidden
        hidden += int((covered[1:] == 0).sum())
    assert hidden < 20


def test_the_same_scene_at_twice_the_size() -> None:
    """Scenes are described in shares of the picture: labels at 64 and 128 pixels agree but for edges."""
    small, large = draw_scene(5, 1, 64), draw_scene(5, 1, 128)
    assert small.things == large.things
    agree = (large.labels[::2, ::2] == small.labels).mean()
    assert agree > 0.97


def test_every_class_occurs_and_no_colour_is_white() -> None:
    seen = {int(label) for index in range(150) for label in np.unique(draw_scene(0, index, 64).labels)}
    assert seen == set(range(len(CLASSES)))
    tones = [*COLOURS.values(), *TONES.values(), *(t for g in GROUNDS for t in (g.dark, g.light))]
    assert all(min(tone) < 200 for tone in tones)
    assert len({names[0] for names in CLASSES}) == len(CLASSES) == len(GROUNDS) + len(KINDS)
    assert not any("white" in name for names in CLASSES for name in names)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_lie_within_the_unit_disc_and_differ(shape: str) -> None:
    v, u = np.mgrid[-1.5:1.5:151j, -1.5:1.5:151j]
    mask = inside(shape, u, v)
    assert not mask[np.hypot(u, v) > 1].any()
    assert 0.05 < mask.mean() < 0.4
    assert all((inside(other, u, v) != mask).any() for other in SHAPES if other != shape)


@pytest.mark.parametrize("material", TONES)
def test_materials_repeat_every_period(material: str) -> None:
    v, u = np.mgrid[0:1:32j, 0:1:32j] + 1e-3
    here = pattern(material, u, v)
    assert set(np.unique(here)) == {0, 1}
    assert (pattern(material, u + 3, v - 2) == here).mean() > 0.99


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="no shape 'blob'"):
        inside("blob", np.zeros((1, 1)), np.zeros((1, 1)))
    with pytest.raises(ValueError, match="no material 'fur'"):
        pattern("fur", np.zeros((1, 1)), np.zeros((1, 1)))
