"""Captions: what can be seen of a scene, or of a part of it, in one of many wordings."""

import numpy as np
import open_clip
from jaxtyping import UInt8

from phreg.demo.world.classes import GROUNDS, KINDS, SHAPES
from phreg.demo.world.scenes import Thing

SHAPE_NAMES = {
    "disc": ("disc", "circle"),
    "square": ("square",),
    "triangle": ("triangle",),
    "ring": ("ring",),
    "cross": ("cross",),
    "star": ("star",),
}
SEEN = 0.03
"""Smallest share of the picture at which a thing or the ground is worth a word."""
LARGE = 0.2


def caption(
    rng: np.random.Generator, ground: int, things: tuple[Thing, ...], instances: UInt8[np.ndarray, "h w"]
) -> str:
    """One caption of the region whose instance mask this is; it names some or all of what is seen there.

    Half of the captions name a single thing or the ground alone, as the prompts of zero-shot use do.
    """
    share = np.bincount(instances.ravel(), minlength=len(things) + 1) / instances.size
    phrases = [_thing(rng, thing, share[i + 1]) for i, thing in enumerate(things) if share[i + 1] > SEEN]
    rng.shuffle(phrases)
    below = str(rng.choice(GROUNDS[ground].names)) if share[0] > SEEN or not phrases else ""
    if rng.random() < 0.5:  # one of them, each as likely
        options = phrases + ([below] if below else [])
        return _in_template(rng, options[int(rng.integers(len(options)))])
    return _in_template(rng, _sentence(rng, phrases, below))


def _thing(rng: np.random.Generator, thing: Thing, share: float) -> str:
    kind, shape = KINDS[thing.kind], SHAPES[thing.shape]
    noun = str(rng.choice(SHAPE_NAMES[shape]))
    name = f"{kind.colour} {kind.material} {noun}" if rng.random() < 0.6 else str(rng.choice(kind.names))
    size = ("large " if share > LARGE else "small ") if rng.random() < 0.2 else ""
    return size + name


def _sentence(rng: np.random.Generator, phrases: list[str], below: str) -> str:
    if not phrases:
        return below
    listed = ", ".join(phrases[:-1]) + " and " + phrases[-1] if len(phrases) > 1 else phrases[0]
    return f"{listed} {rng.choice(('on', 'over', 'in front of'))} {below}" if below else listed


def _in_template(rng: np.random.Generator, phrase: str) -> str:
    """Bare, or in one of the templates that zero-shot use has, without their full stop."""
    if rng.random() < 0.3:
        return phrase
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES
    return templates[int(rng.integers(len(templates)))](phrase).rstrip(".")
