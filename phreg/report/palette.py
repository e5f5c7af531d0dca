"""Colours of classes: the first 32 can be told apart by people who do not see red or green as others do.

The first seven are those of Okabe and Ito. Each of the others is, of a grid of colours, the one farthest
from all before it, in CIELAB and for the worst of three eyes: trichromatic, protanopic and deuteranopic
(the matrices of Machado, Oliveira and Fernandes, 2009). Any two differ by at least 13 (2 is just visible).
"""

from phreg.fingerprint import digest_bytes

PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#0a0afa",
    "#bbfaa7", "#7d0a0a", "#532949", "#151f9c", "#5372fa", "#fae5ef", "#ef0a53", "#e5a75e",
    "#0a3472", "#5edba7", "#539cfa", "#0a3edb", "#0a6834", "#efef7d", "#1f5e7d", "#2953bb",
    "#72c6db", "#533434", "#92490a", "#ef687d", "#49727d", "#db683e", "#efe5d0", "#92d087",
)  # fmt: skip


def class_colour(index: int, name: str) -> str:
    """`#rrggbb` of a class: from the palette by its index, past its end from the digest of its name."""
    if index < len(PALETTE):
        return PALETTE[index]
    return "#" + digest_bytes(name.encode(errors="replace"))[:6]
