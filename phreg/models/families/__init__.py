"""The networks that phreg knows: one adapter for each class of timm's that is a plain stack of blocks."""

from typing import Any

from phreg.errors import ModelError
from phreg.models.families.distilled import undistilled
from phreg.models.families.eva import Evas
from phreg.models.families.family import Family, Heads, Rope
from phreg.models.families.vision_transformer import VisionTransformers

__all__ = ["FAMILIES", "Family", "Heads", "Rope", "family_of", "undistilled"]

FAMILIES: tuple[Family, ...] = (VisionTransformers(), Evas())


def family_of(vit: Any, name: str = "The model") -> Family:
    """The adapter for a network. Raises `ModelError` for one of another class."""
    for family in FAMILIES:
        if isinstance(vit, family.kind):
            return family
    known = "; ".join(f"{family.kind.__name__} ({family.holds})" for family in FAMILIES)
    raise ModelError(
        f"{name} is no plain ViT that phreg knows",
        expected=f"a network of one of timm's classes {known}",
        found=type(vit).__name__,
        remedy="take one of these, of any size and patch",
    )
