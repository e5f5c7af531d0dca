"""What the linear head of a ViT is: CLIP's projection, which belongs to its features, or a classifier.

timm gives both the same name and shape. CLIP's own weights have no bias there, and timm's conversion of them
writes zeros; a classifier that was trained has a bias. Where that does not decide, the user must.
"""

import functools
import logging
from typing import Any

import timm
import torch
from timm.models import get_arch_pretrained_cfgs
from torch import nn

from phreg.errors import ModelError
from phreg.section import Head

_IMAGENET = frozenset({1000, 11221, 11821, 11841, 21841, 21843})  # classes of its versions in timm's weights

logger = logging.getLogger(__name__)


def settle_head(vit: Any, head: Head | None, source: str, sure: bool = False) -> None:
    """Take the head off if it is a classifier; what stays is CLIP's projection.

    Args:
        head: what the user says it is; None: go by the model.
        sure: whether the model comes from where a linear head of a CLIP-like ViT can only be its projection.

    Raises `ModelError` if it cannot be told, or if the user names a projection and there is none.
    """
    if not isinstance(vit.head, nn.Linear):
        if head == "projection":
            raise ModelError(f"{source} has no projection", "a linear head", type(vit.head).__name__)
        return
    if head is None:
        head = "projection" if sure and normalises_first(vit) else _told_by_model(vit, source)
    if head == "classifier":
        vit.reset_classifier(0)


def head_of_tag(tag: str) -> Head | None:
    """`classifier` for weights that timm calls fine-tuned on ImageNet; other tags do not say."""
    return "classifier" if "ft_in" in tag else None


def normalises_first(vit: Any) -> bool:
    """Whether there is a norm before the first block, as in CLIP's image towers."""
    return not isinstance(vit.norm_pre, nn.Identity)


def _told_by_model(vit: Any, source: str) -> Head:
    width, biased = vit.head.out_features, bool(vit.head.bias is not None and vit.head.bias.any())
    if width in _IMAGENET:
        return "classifier"
    architecture = (getattr(vit, "pretrained_cfg", None) or {}).get("architecture")
    widths = _projections(architecture, vit.embed_dim, normalises_first(vit)) if architecture else None
    if widths is None and not normalises_first(vit):
        return "classifier"
    if widths is not None and width not in widths:
        return "classifier"
    if not biased:
        return "projection"
    if architecture is None:  # a network that the caller built: their word is the docstring of load_backbone
        logger.warning(
            "the linear head of %s is taken for CLIP's projection, though it has a bias; "
            "if it is a classifier, say head='classifier'",
            source,
        )
        return "projection"
    raise ModelError(
        f"Cannot tell what the linear head of {source} is",
        expected="CLIP's projection, which has no bias, or a classifier of another width",
        found=f"{width} outputs with a bias",
        remedy="say which: `head: classifier` (features are before it) or `head: projection` (after it)",
    )


@functools.cache
def _projections(architecture: str, embed_dim: int, norm_first: bool) -> frozenset[int] | None:
    """Widths of the CLIP projections that timm has for an architecture; empty if it is no CLIP.

    None where the name says nothing of a network: timm does not have it, or builds another one from it.
    """
    if not timm.is_model(architecture):
        return None
    with torch.device("meta"):
        named: Any = timm.create_model(architecture, pretrained=False)
    if (named.embed_dim, normalises_first(named)) != (embed_dim, norm_first):
        return None
    known = {config.num_classes for config in get_arch_pretrained_cfgs(architecture).values()}
    return frozenset(known - _IMAGENET - {0})
