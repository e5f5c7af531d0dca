"""The networks that phreg knows: one adapter for each class of timm's that is a plain stack of blocks."""

from typing import Any

from timm.models.naflexvit import NaFlexVit

from phreg.errors import ModelError
from phreg.models.families.beit import Beits
from phreg.models.families.distilled import undistilled
from phreg.models.families.eva import Evas
from phreg.models.families.family import Family, Heads, Rope
from phreg.models.families.naflex import plain_naflex
from phreg.models.families.relative import RelativeVisionTransformers, named_as_others
from phreg.models.families.vision_transformer import VisionTransformers

__all__ = ["FAMILIES", "Family", "Heads", "Rope", "as_plain", "check_class", "family_of"]

FAMILIES: tuple[Family, ...] = (VisionTransformers(), Evas(), RelativeVisionTransformers(), Beits())


def family_of(vit: Any, name: str = "The model") -> Family:
    """The adapter for a network. Raises `ModelError` for one of another class."""
    for family in FAMILIES:
        if isinstance(vit, family.kind):
            return family
    known = "; ".join(f"{family.kind.__name__} ({family.holds})" for family in FAMILIES)
    known += "; NaFlexVit (SigLIP 2 and C-RADIO for images of any shape)"
    raise ModelError(
        f"{name} is no plain ViT that phreg knows",
        expected=f"a network of one of timm's classes {known}",
        found=type(vit).__name__,
        remedy="take one of these, of any size and patch",
    )


def as_plain(vit: Any) -> Any:
    """A distilled DeiT or a NaFlexVit as the plain ViT that it is to the patches; any other as it is."""
    if isinstance(vit, NaFlexVit):
        return plain_naflex(vit)
    return named_as_others(undistilled(vit))


def check_class(vit: Any, name: str = "The model") -> None:
    """Raise `ModelError` for a network that is neither of a family nor made so by `as_plain`."""
    if not isinstance(vit, NaFlexVit):
        family_of(vit, name)
