"""What the linear head of a ViT is: CLIP's projection, which belongs to its features, or a classifier.

timm gives both the same name and shape. CLIP's own weights have no bias there, and timm's conversion of them
writes zeros; a classifier that was trained has a bias. Where that does not decide, the user must.
"""

import functools
import logging
from typing import Any, get_args

import timm
import torch
from timm.models import get_arch_pretrained_cfgs
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from phreg.config.model import Head
from phreg.errors import ModelError

_IMAGENET = frozenset({1000, 11221, 11821, 11841, 21841, 21843})  # classes of its versions in timm's weights

logger = logging.getLogger(__name__)


def settle_head(vit: Any, head: str | None, source: str, sure: bool = False, given: bool = False) -> None:
    """Take the head off if it is a classifier; what stays is CLIP's projection.

    Args:
        head: what the user says it is; None: go by the model.
        sure: whether the model comes from where a linear head can only be a projection: an open_clip tower,
            a directory that phreg wrote.
        given: whether the caller made the network, and it can be taken for a projection where that cannot be
            told, with a warning: so says the docstring of `load_backbone`.

    Raises `ModelError` if it cannot be told, or if the user names a projection and there is none.
    """
    if head is not None and head not in get_args(Head):
        raise ModelError(f"There is no head {head!r}", expected=f"one of {', '.join(get_args(Head))}")
    if not isinstance(vit.head, nn.Linear):
        if head == "projection":
            raise ModelError(f"{source} has no projection", "a linear head", type(vit.head).__name__)
        return
    if head is None:
        head = "projection" if sure else _told_by_model(vit, source, given)
    if head == "classifier":
        vit.reset_classifier(0)


def head_of_tag(tag: str) -> Head | None:
    """`classifier` for weights that timm calls fine-tuned on ImageNet; other tags do not say."""
    return "classifier" if "ft_in" in tag else None


def normalises_first(vit: Any) -> bool:
    """Whether there is a norm before the first block, as in CLIP's image towers."""
    return not isinstance(vit.norm_pre, nn.Identity)


def may_project(vit: Any) -> bool:
    """Whether a linear head may be CLIP's projection: by the norm before the blocks, or by name."""
    return normalises_first(vit) or bool(_projections(_named(vit)))


def _told_by_model(vit: Any, source: str, given: bool) -> Head:
    width, widths, named = vit.head.out_features, _projections(_named(vit)), _named(vit)
    if width in _IMAGENET or not may_project(vit):
        return "classifier"
    if _is_as_named(named, vit.embed_dim, normalises_first(vit)) and width not in widths:
        return "classifier"
    biased = vit.head.bias is not None and bool(vit.head.bias.any())
    if not biased or not isinstance(vit, VisionTransformer):  # EVA-CLIP's projection has a bias
        return "projection"
    if given:
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


def _named(vit: Any) -> str:
    return str((getattr(vit, "pretrained_cfg", None) or {}).get("architecture") or "")


@functools.cache
def _projections(architecture: str) -> frozenset[int]:
    """Widths of the CLIP projections that timm has for an architecture; none if it is no CLIP."""
    known = {config.num_classes for config in get_arch_pretrained_cfgs(architecture).values()}
    return frozenset(known - _IMAGENET - {0}) if timm.is_model(architecture) else frozenset()


@functools.cache
def _is_as_named(architecture: str, embed_dim: int, norm_first: bool) -> bool:
    """Whether timm builds such a network from this name; arguments may have made another one of it."""
    if not timm.is_model(architecture):
        return False
    with torch.device("meta"):
        named: Any = timm.create_model(architecture, pretrained=False)
    return bool((named.embed_dim, normalises_first(named)) == (embed_dim, norm_first))
