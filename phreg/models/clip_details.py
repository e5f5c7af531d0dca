"""What CLIP weights want to be run with, where only the model's name is known: their GELU, mean and std."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import open_clip
import timm
from timm.data import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from timm.models import get_arch_pretrained_cfgs

from phreg.errors import CheckpointError

Statistics = tuple[Sequence[float], Sequence[float]]
OPENAI_ENTRIES = ("input_resolution", "context_length", "vocab_size")  # beside the weights in OpenAI's files

logger = logging.getLogger(__name__)


def wants_quick_gelu(
    name: str, tag: str, config: Mapping[str, Any], details: Mapping[str, Any], state: Mapping[str, Any]
) -> bool:
    """Whether weights `state` for open_clip's model `name` want QuickGELU.

    OpenAI's own files are known by what lies beside the weights. For others without a tag the model's config
    is followed; a warning says so, where some of the weights published for this model want the other.
    """
    if is_openai(state):
        return True
    quick = bool(config.get("quick_gelu") or details.get("quick_gelu"))
    others = [] if tag or quick else _quick_tags(name)
    if others:
        logger.warning(
            "open_clip/%s is run with GELU; of the weights published for it, %s want QuickGELU. "
            "If yours are among them, name %s",
            name,
            ", ".join(others),
            " or ".join([f"open_clip/{name}:TAG", *_quick_name(name)]),
        )
    return quick


def is_openai(state: Mapping[str, Any]) -> bool:
    return any(entry in state for entry in OPENAI_ENTRIES)


def statistics_of(name: str, tag: str, details: Mapping[str, Any], trunk: Mapping[str, Any]) -> Statistics:
    """Mean and std of the images that open_clip's model `name` was trained on.

    Without a tag: what all weights published for it have in common, else what timm says of the image tower
    (`trunk`: its `pretrained_cfg`), else OpenAI's, with a warning if some of the published ones differ.
    """
    if tag:
        return _of(details)
    published = {_of(open_clip.get_pretrained_cfg(name, known) or {}) for known in _tags(name)}
    if len(published) == 1:
        return published.pop()
    if published:
        logger.warning(
            "open_clip/%s: the weights published for it differ in the mean and std of their images; OpenAI's "
            "are taken. Add their tag (open_clip/%s:TAG), or give mean and std",
            name,
            name,
        )
    elif trunk.get("mean") and trunk.get("std"):
        return tuple(trunk["mean"]), tuple(trunk["std"])
    return OPENAI_CLIP_MEAN, OPENAI_CLIP_STD


def check_timm_gelu(name: str, state: Mapping[str, Any] | None) -> None:
    """timm has two models for a CLIP, and `..._clip_quickgelu_...` is the one for QuickGELU.

    Warns where weights that timm calls by a tag (`name` is NAME[.TAG]) are in both. Raises `CheckpointError`
    for OpenAI's own file in the one with GELU.
    """
    stem, _, tag = name.partition(".")
    quick = stem.replace("_clip_", "_clip_quickgelu_")
    if quick == stem or not timm.is_model(quick) or "quickgelu" in stem:
        return
    if state is not None and is_openai(state):
        raise CheckpointError(
            f"OpenAI's weights want QuickGELU, and timm/{stem} has GELU",
            expected="the model that they were trained as",
            remedy=f"name timm/{quick}",
        )
    if f"{quick}.{tag}" in get_arch_pretrained_cfgs(quick):
        logger.warning(
            "timm/%s is run with GELU, as timm does; its weights were trained with QuickGELU: timm/%s.%s",
            name,
            quick,
            tag,
        )


def _of(details: Mapping[str, Any]) -> Statistics:
    return tuple(details.get("mean") or OPENAI_CLIP_MEAN), tuple(details.get("std") or OPENAI_CLIP_STD)


def _tags(name: str) -> list[str]:
    tags: list[str] = open_clip.list_pretrained_tags_by_model(name)
    return tags


def _quick_tags(name: str) -> list[str]:
    return [tag for tag in _tags(name) if (open_clip.get_pretrained_cfg(name, tag) or {}).get("quick_gelu")]


def _quick_name(name: str) -> list[str]:
    return [f"open_clip/{name}-quickgelu"] if f"{name}-quickgelu" in open_clip.list_models() else []
