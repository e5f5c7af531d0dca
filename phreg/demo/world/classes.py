"""What the world is made of: grounds, and things with a colour and a material that a single patch shows.

A class is a ground, or a pair of colour and material; shape, size and light vary freely within it. White is
in none of them: it fills what shifted views leave empty.
"""

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Ground:
    """A texture between two tones (RGB, 0 to 255). `names`: the first is its title."""

    names: tuple[str, ...]
    dark: Colour
    light: Colour
    texture: str


@dataclass(frozen=True)
class Kind:
    """A class of things: a colour, and a material that alternates it with the material's own tone."""

    colour: str
    material: str

    @property
    def names(self) -> tuple[str, ...]:
        look = f"{self.colour} {self.material}"
        return (f"{look} thing", f"{look} object", f"{look} shape")


GROUNDS = (
    Ground(("grass", "lawn"), (30, 84, 24), (110, 160, 62), "blades"),
    Ground(("sand", "beach"), (186, 158, 112), (224, 202, 160), "grain"),
    Ground(("water", "sea"), (24, 78, 110), (104, 166, 186), "waves"),
    Ground(("bricks", "brick floor"), (120, 60, 44), (164, 96, 72), "bricks"),
    Ground(("gravel", "pebbles"), (84, 84, 86), (160, 158, 154), "pebbles"),
)
COLOURS: dict[str, Colour] = {
    "red": (206, 36, 40),
    "yellow": (236, 200, 40),
    "blue": (40, 70, 206),
    "purple": (134, 46, 170),
    "orange": (240, 126, 24),
    "pink": (240, 130, 178),
}
TONES: dict[str, Colour] = {"striped": (26, 26, 30), "dotted": (120, 228, 214), "checked": (118, 120, 124)}
"""The second colour of each material."""
KINDS = tuple(
    Kind(colour, material)
    for i, colour in enumerate(COLOURS)
    for material in (tuple(TONES)[i % 3], tuple(TONES)[(i + 1) % 3])
)
SHAPES = ("disc", "square", "triangle", "ring", "cross", "star")

CLASSES: tuple[tuple[str, ...], ...] = tuple(ground.names for ground in GROUNDS) + tuple(
    kind.names for kind in KINDS
)
"""Names of each class in the order of the masks' indices: the grounds, then the things."""
