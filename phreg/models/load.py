"""Teachers by name: timm, open_clip, or a directory in timm's or in open_clip's hub layout."""

import copy
import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy.typing as npt
import open_clip
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from timm.models import get_arch_pretrained_cfgs
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from phreg.config import TeacherConfig
from phreg.errors import ModelError
from phreg.fingerprint import digest_weights
from phreg.models.backbone import Backbone, check_divides, is_clip_like, square_patch
from phreg.models.clip_details import Statistics, check_timm_gelu
from phreg.models.clip_directory import BUNDLED, PREFIX, is_clip_directory
from phreg.models.clip_tower import downloaded, tower_by_name, tower_of_directory
from phreg.models.head import head_of_tag, settle_head
from phreg.models.hub import read_hub_folder
from phreg.models.position import resample_grid
from phreg.models.weight_files import read_state_dict
from phreg.models.weights import load_weights
from phreg.progress import tell
from phreg.section import Head

Numbers = Sequence[float] | npt.NDArray[Any] | torch.Tensor
_FORMS = f"timm/NAME[.TAG], open_clip/NAME[:TAG], local-dir:PATH, {PREFIX}PATH or {BUNDLED}"


def load_backbone(
    model: str | VisionTransformer,
    checkpoint: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    read_out: str = "standard",
    mean: Numbers | None = None,
    std: Numbers | None = None,
    head: Head | None = None,
    checkpoint_key: str | None = None,
) -> Backbone:
    """A frozen ViT in eval mode that maps normalised images to dense features.

    Args:
        model: a name or a timm `VisionTransformer`, which is copied and left as it is. Names are
            `timm/NAME[.TAG]`, `open_clip/NAME[:TAG]`, `local-dir:PATH` (timm's hub layout),
            `open_clip-dir:PATH` (open_clip's hub layout) and `phreg/small-clip` (the one we ship).
        checkpoint: fsspec URL of weights in timm's, DINOv2's or CLIP's naming; without one, a named
            model's weights are downloaded.
        image_size: pixels, one side or (H, W); the positional embedding is resampled to it once.
        read_out: `standard`, `value`, `csa`, `naclip` or `qq`.
        mean, std: per channel, of images in [0, 1]; default: the model's own (CLIP's for a bare CLIP-like
            ViT, ImageNet's for any other).
        head: what a linear head is: CLIP's `projection`, which is part of its features, or a `classifier`.
            Default: what weights, tag and architecture say; in a CLIP-like ViT of your own, a projection.
        checkpoint_key: which network of a checkpoint that has several, for instance `teacher.backbone`.

    Raises `ModelError`, `CheckpointError` or `DownloadError`.
    """
    tell("loading the model" if isinstance(model, VisionTransformer) else f"loading {model}")
    if isinstance(model, VisionTransformer):
        vit, own = copy.deepcopy(model), None
        if checkpoint is not None:
            load_weights(vit, read_state_dict(checkpoint, checkpoint_key), checkpoint, head)
        settle_head(vit, head, f"this {type(vit).__name__}")
    else:
        vit, own = _named(model, checkpoint, checkpoint_key, head)
    source_digest = _resize(vit, image_size)
    vit.eval().requires_grad_(False)
    statistics = own or _own_statistics(vit)
    mean, std = (own if given is None else given for given, own in zip((mean, std), statistics, strict=True))
    return Backbone(vit, read_out, mean, std, source_digest).eval()


def load_teacher(config: TeacherConfig) -> Backbone:
    """The backbone that a config describes."""
    return load_backbone(
        config.model,
        config.checkpoint,
        config.image_size,
        config.read_out,
        config.mean,
        config.std,
        config.head,
        config.checkpoint_key,
    )


def _named(
    name: str, checkpoint: str | None, key: str | None, head: Head | None
) -> tuple[VisionTransformer, Statistics | None]:
    if name.startswith("timm/"):
        return _from_timm(name.removeprefix("timm/"), checkpoint, key, head), None
    if name.startswith("local-dir:"):
        return _from_directory(name.removeprefix("local-dir:"), checkpoint, key, head), None
    if name.startswith("open_clip/"):
        vit, statistics = tower_by_name(name.removeprefix("open_clip/"), checkpoint, key)
    elif is_clip_directory(name):
        vit, statistics = tower_of_directory(name, checkpoint, key)
    else:
        raise ModelError(f"Cannot tell what model {name!r} is", _FORMS, remedy=_meant(name, _all_names()))
    settle_head(vit, head, name, sure=True)
    return vit, statistics


def _all_names() -> list[str]:
    """What a name without its form, or with a slip in it, may have meant. Without timm's tags."""
    by_name = [f"open_clip/{name}:{tag}" for name, tag in open_clip.list_pretrained()]
    return [BUNDLED, *(f"timm/{name}" for name in timm.list_models(module="vision_transformer")), *by_name]


def _meant(name: str, known: Iterable[str]) -> str:
    """A remedy that names what is most like it, or nothing. Of timm's names without the tag."""
    by_end = {full.partition("/")[2]: full for full in known} | {full: full for full in known}
    stem, dot, tag = name.partition(".")
    near = difflib.get_close_matches(name, by_end, 1, 0.8) or difflib.get_close_matches(stem, by_end, 1, 0.8)
    if not near:
        return ""
    full = by_end[near[0]]
    return f"did you mean {full}{dot + tag if full.startswith('timm/') else ''}?"


def _check_timm_name(name: str) -> None:
    """Raises `ModelError` for a name or tag that timm does not have, with those that it has."""
    stem, _, tag = name.partition(".")
    if not timm.is_model(name):
        near = timm.list_models(f"*{stem}*")[:3] or difflib.get_close_matches(
            stem, timm.list_models(), 3, 0.8
        )
        raise ModelError(
            f"timm has no model {name!r}",
            remedy=f"did you mean {near}?" if near else "see timm.list_models()",
        )
    tags = [full.partition(".")[2] for full in get_arch_pretrained_cfgs(stem)]
    if tag and tag not in tags:
        near = difflib.get_close_matches(tag, tags, 1)
        raise ModelError(
            f"timm has no weights {tag!r} for {stem}",
            expected=f"one of {tags}" if any(tags) else "no tag: it has none",
            remedy=f"did you mean timm/{stem}.{near[0]}?" if near else "",
        )


def _from_timm(name: str, checkpoint: str | None, key: str | None, head: Head | None) -> VisionTransformer:
    _check_timm_name(name)
    with torch.device("meta"):  # before any weights are downloaded
        kind = type(timm.create_model(name, pretrained=False))
    if not issubclass(kind, VisionTransformer):
        raise ModelError(f"timm's {name} is no plain ViT", "a VisionTransformer", kind.__name__)
    state = read_state_dict(checkpoint, key) if checkpoint is not None else None
    check_timm_gelu(name, state)
    vit: Any = downloaded(lambda: timm.create_model(name, pretrained=state is None), f"timm/{name}")
    if state is not None:
        head = head or head_of_tag(name.partition(".")[2])
        load_weights(vit, state, str(checkpoint), head)
    settle_head(vit, head, f"timm/{name}")
    tower: VisionTransformer = vit
    return tower


def _from_directory(
    path: str, checkpoint: str | None, key: str | None, head: Head | None
) -> VisionTransformer:
    vit, state, config = read_hub_folder(path, read_state_dict(checkpoint, key) if checkpoint else None)
    if "act_layer" not in config.model_args:
        check_timm_gelu(f"{config.architecture}.{config.tag}", state)
    load_weights(vit, state, checkpoint or path, head or head_of_tag(config.tag))
    settle_head(vit, head, path, sure=config.is_ours and checkpoint is None)
    return vit


def _resize(vit: VisionTransformer, image_size: int | tuple[int, int] | None) -> str | None:
    """Resample to the size; gives the digest of the weights before, if anything changed."""
    if image_size is None:
        return None
    size = (
        (image_size, image_size) if isinstance(image_size, int) else (int(image_size[0]), int(image_size[1]))
    )
    patch = square_patch(vit)
    check_divides(size, patch)
    old, new = vit.patch_embed.grid_size, (size[0] // patch, size[1] // patch)
    if tuple(vit.patch_embed.img_size) == size:
        return None
    digest = digest_weights(vit.state_dict())
    vit.patch_embed.set_input_size(size)
    if vit.pos_embed is not None and old != new:
        prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
        for_prefix, for_grid = vit.pos_embed[:, :prefix], vit.pos_embed[:, prefix:]
        vit.pos_embed = nn.Parameter(torch.cat([for_prefix, resample_grid(for_grid, old, new)], 1))
    return digest


def _own_statistics(vit: VisionTransformer) -> Statistics:
    config = getattr(vit, "pretrained_cfg", None) or {}
    if config.get("mean") and config.get("std"):
        return config["mean"], config["std"]
    if is_clip_like(vit):
        return OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
    return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
