"""Teachers by name: timm, open_clip, or a directory in timm's hub layout."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import open_clip
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from phreg.config import TeacherConfig
from phreg.errors import ModelError
from phreg.fingerprint import digest_weights
from phreg.models.backbone import Backbone, check_divides, has_projection, is_clip_like, square_patch
from phreg.models.hub import read_hub_folder
from phreg.models.position import resample_grid
from phreg.models.weights import load_weights, read_state_dict

Numbers = Sequence[float] | npt.NDArray[Any] | torch.Tensor
_FORMS = "timm/NAME[.TAG], open_clip/NAME[:TAG] or local-dir:PATH"


def load_backbone(
    model: str | VisionTransformer,
    checkpoint: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    read_out: str = "standard",
    mean: Numbers | None = None,
    std: Numbers | None = None,
) -> Backbone:
    """A frozen ViT in eval mode that maps normalised images to dense features.

    Args:
        model: a name (`timm/NAME[.TAG]`, `open_clip/NAME[:TAG]`, `local-dir:PATH`) or a timm
            `VisionTransformer`, which is copied and left as it is.
        checkpoint: fsspec URL of weights in timm's, DINOv2's or CLIP's naming; without one, a named
            model's weights are downloaded.
        image_size: pixels, one side or (H, W); the positional embedding is resampled to it once.
        read_out: `standard`, `value`, `csa`, `naclip` or `qq`.
        mean, std: per channel, of images in [0, 1]; default: the model's own (CLIP's for a bare CLIP-like
            ViT, ImageNet's for any other).

    Raises `ModelError` or `CheckpointError`.
    """
    if isinstance(model, VisionTransformer):
        vit, own = copy.deepcopy(model), None
        if checkpoint is not None:
            load_weights(vit, read_state_dict(checkpoint), checkpoint)
    else:
        vit, own = _named(model, checkpoint)
    source_digest = _resize(vit, image_size)
    vit.eval().requires_grad_(False)
    statistics = own or _own_statistics(vit)
    mean, std = (own if given is None else given for given, own in zip((mean, std), statistics, strict=True))
    return Backbone(vit, read_out, mean, std, source_digest).eval()


def load_teacher(config: TeacherConfig) -> Backbone:
    """The backbone that a config describes."""
    return load_backbone(
        config.model, config.checkpoint, config.image_size, config.read_out, config.mean, config.std
    )


Statistics = tuple[Sequence[float], Sequence[float]]


def _named(name: str, checkpoint: str | None) -> tuple[VisionTransformer, Statistics | None]:
    if name.startswith("timm/"):
        return _from_timm(name.removeprefix("timm/"), checkpoint), None
    if name.startswith("open_clip/"):
        return _from_open_clip(name.removeprefix("open_clip/"), checkpoint)
    if name.startswith("local-dir:"):
        return _from_directory(name.removeprefix("local-dir:"), checkpoint), None
    raise ModelError(f"Cannot tell what model {name!r} is", expected=_FORMS)


def _from_timm(name: str, checkpoint: str | None) -> VisionTransformer:
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.partition('.')[0]}*")[:3]
        raise ModelError(
            f"timm has no model {name!r}",
            remedy=f"did you mean {near}?" if near else "see timm.list_models()",
        )
    with torch.device("meta"):  # before any weights are downloaded
        kind = type(timm.create_model(name, pretrained=False))
    if not issubclass(kind, VisionTransformer):
        raise ModelError(f"timm's {name} is no plain ViT", "a VisionTransformer", kind.__name__)
    vit = _downloaded(lambda: timm.create_model(name, pretrained=checkpoint is None), f"timm/{name}")
    if checkpoint is not None:
        load_weights(vit, read_state_dict(checkpoint), checkpoint)
    # A CLIP tower fine-tuned on ImageNet has lost its projection. With a checkpoint of one's own, the tag
    # that timm takes by default says nothing of the head: go by what the user named.
    config: Any = vit.pretrained_cfg
    tag = config.get("tag") if checkpoint is None else name.partition(".")[2]
    if isinstance(vit.head, nn.Linear) and (not has_projection(vit) or "ft_in" in (tag or "")):
        vit.reset_classifier(0)
    return vit


def _from_directory(path: str, checkpoint: str | None) -> VisionTransformer:
    vit, state, _ = read_hub_folder(path, with_weights=checkpoint is None)
    source = checkpoint or path
    load_weights(vit, read_state_dict(checkpoint) if checkpoint else state, source)
    return vit


def _from_open_clip(name: str, checkpoint: str | None) -> tuple[VisionTransformer, Statistics]:
    name, _, tag = name.partition(":")
    config = open_clip.get_model_config(name)
    if config is None or "vision_cfg" not in config:
        raise ModelError(f"open_clip has no model {name!r}", remedy="see open_clip.list_models()")
    details = open_clip.get_pretrained_cfg(name, tag) or {} if tag else {}
    if tag and not details:
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise ModelError(f"open_clip has no weights {tag!r} for {name}", expected=f"one of {tags}")
    if not tag and checkpoint is None:
        raise ModelError(f"open_clip/{name} has no weights", remedy="add a :TAG, or give a checkpoint")
    quick_gelu = bool(config.get("quick_gelu") or details.get("quick_gelu"))
    vit = _build_clip_tower(name, config, quick_gelu)
    if checkpoint is not None:
        load_weights(vit, read_state_dict(checkpoint), checkpoint)
    else:
        clip = _downloaded(lambda: open_clip.create_model(name, pretrained=tag), f"open_clip/{name}:{tag}")
        load_weights(vit, clip.state_dict(), f"open_clip/{name}:{tag}")
    return vit, (details.get("mean") or OPENAI_CLIP_MEAN, details.get("std") or OPENAI_CLIP_STD)


def _build_clip_tower(name: str, config: dict[str, Any], quick_gelu: bool) -> VisionTransformer:
    """The image tower of an open_clip config as a timm ViT, its projection as the head."""
    vision = config["vision_cfg"]
    if "timm_model_name" in vision:
        trunk: object = timm.create_model(vision["timm_model_name"], num_classes=0)
        if isinstance(trunk, VisionTransformer):
            return trunk
    plain = "patch_size" in vision and isinstance(vision.get("layers"), int)
    unusual = [key for key in ("attentional_pool", "no_ln_pre", "final_ln_after_pool") if vision.get(key)]
    if not plain or unusual:
        raise ModelError(
            f"The image tower of open_clip/{name} is no plain ViT",
            expected="a class-token ViT with patch_size, width and layers",
            found=", ".join(unusual) or vision.get("timm_model_name", "another architecture"),
        )
    vit: Any = timm.create_model(
        "vit_base_patch16_clip_224",
        pretrained=False,
        img_size=vision["image_size"],
        patch_size=vision["patch_size"],
        embed_dim=vision["width"],
        depth=vision["layers"],
        num_heads=vision["width"] // vision.get("head_width", 64),
        mlp_ratio=vision.get("mlp_ratio", 4.0),
        init_values=vision.get("ls_init_value"),
        act_layer="quick_gelu" if quick_gelu else "gelu",
        num_classes=config["embed_dim"],
    )
    tower: VisionTransformer = vit
    return tower


def _downloaded(fetch: Any, name: str) -> Any:
    try:
        return fetch()
    except Exception as error:
        raise ModelError(
            f"Cannot get the weights of {name}",
            found=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            if str(error)
            else repr(error),
            remedy="check the network, or give `checkpoint:` with weights on disk or in a bucket",
        ) from error


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
