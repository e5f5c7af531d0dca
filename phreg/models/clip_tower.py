"""CLIP's image towers as timm ViTs: open_clip's models by name, and directories in open_clip's layout."""

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import open_clip
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from phreg.errors import CheckpointError, DownloadError, ModelError
from phreg.models.checkpoint_parts import image_part
from phreg.models.clip_details import Statistics, is_openai, statistics_of, wants_quick_gelu
from phreg.models.clip_directory import ClipDirectory, read_clip_directory
from phreg.models.head import settle_head
from phreg.models.hub_config import too_large
from phreg.models.weight_files import read_state_dict
from phreg.models.weights import load_weights

T = TypeVar("T")
_UNUSUAL = (
    "attentional_pool", "no_ln_pre", "final_ln_after_pool", "norm_kwargs", "act_kwargs", "qk_norm",
    "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc",
)  # fmt: skip


def tower_by_name(
    name: str, checkpoint: str | None, key: str | None, head: str | None
) -> tuple[VisionTransformer, Statistics]:
    """The image tower of `open_clip/NAME[:TAG]`, given as NAME[:TAG], with mean and std.

    `head`: what the user says a linear one is.
    """
    name, tag, config, details = open_clip_model(name, checkpoint)
    _build(f"open_clip/{name}", config, False, device="meta")  # refused, if need be, before a download
    state = downloaded_weights(name, tag) if checkpoint is None else read_state_dict(checkpoint, key)
    quick_gelu = wants_quick_gelu(name, tag, config, details, state)
    vit = _build(f"open_clip/{name}", config, quick_gelu)
    _fill(vit, state, checkpoint or f"open_clip/{name}:{tag}", config["embed_dim"], head)
    return vit, statistics_of(name, tag, details, getattr(vit, "pretrained_cfg", {}))


def tower_of_directory(
    model: str, checkpoint: str | None, key: str | None, head: str | None
) -> tuple[VisionTransformer, Statistics]:
    """The image tower of a CLIP in open_clip's hub layout, in float32, with mean and std."""
    clip = read_clip_directory(model)
    state = read_state_dict(checkpoint, key) if checkpoint else image_part(clip.weights(), clip.source)
    if checkpoint is None:
        _check_size(clip, state)
    name = clip.config["vision_cfg"].get("timm_model_name")
    if name is not None and not timm.is_model(str(name)):  # timm would take paths and hub names too
        raise ModelError(f"timm has no model {name!r}, which {clip.folder.url} asks for")
    quick_gelu, source = bool(clip.config["quick_gelu"] or is_openai(state)), checkpoint or clip.source
    parameters = sum(value.numel() for value in state.values() if isinstance(value, Tensor))
    found = too_large(_build(model, clip.config, quick_gelu, device="meta"), parameters)
    if found:
        raise CheckpointError(f"The weights at {source} do not fit the config of {model}", found=found)
    vit = _build(model, clip.config, quick_gelu)
    _fill(vit, state, source, clip.config["embed_dim"], head)
    return vit, (clip.mean, clip.std)


def open_clip_model(name: str, checkpoint: str | None) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """NAME[:TAG] taken apart: name, tag, the model's config, what open_clip knows of the tag's weights."""
    name, _, tag = name.partition(":")
    schema = name.startswith(("hf-hub", "local-dir"))  # open_clip would download or read a path
    config = None if schema else open_clip.get_model_config(name)
    if config is None or "vision_cfg" not in config:
        near = difflib.get_close_matches(name, open_clip.list_models(), 3)
        remedy = f"did you mean {near}?" if near else "see open_clip.list_models()"
        raise ModelError(f"open_clip has no model {name!r}", remedy=remedy)
    details = open_clip.get_pretrained_cfg(name, tag) or {} if tag else {}
    if tag and not details:
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise ModelError(f"open_clip has no weights {tag!r} for {name}", expected=f"one of {tags}")
    if not tag and checkpoint is None:
        raise ModelError(f"open_clip/{name} has no weights", remedy="add a :TAG, or give a checkpoint")
    return name, tag, config, details


def downloaded_weights(name: str, tag: str) -> dict[str, Tensor]:
    """The weights of both towers, downloaded, or read from open_clip's cache."""
    clip = downloaded(lambda: open_clip.create_model(name, pretrained=tag), f"open_clip/{name}:{tag}")
    state: dict[str, Tensor] = clip.state_dict()
    return state


def downloaded(fetch: Callable[[], T], name: str) -> T:
    """What `fetch` gives. Raises `DownloadError` that says what could not be had."""
    try:
        return fetch()
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}" if str(error) else repr(error)
        raise DownloadError(
            f"Cannot get the weights of {name}",
            found=said,
            remedy="check the network, and that HF_HOME (by default ~/.cache/huggingface) can be written, or "
            "give `checkpoint:` with weights on disk or in a bucket",
        ) from error


def _fill(
    vit: VisionTransformer, state: Mapping[str, Any], source: str, width: int, head: str | None
) -> None:
    """Load weights. A linear head of the CLIP's own `width` is its projection, another a classifier."""
    load_weights(vit, state, source, head)
    own = getattr(vit.head, "out_features", width) == width
    settle_head(vit, head or (None if own else "classifier"), source, sure=True)


def _build(name: str, config: dict[str, Any], quick_gelu: bool, device: str = "cpu") -> VisionTransformer:
    with torch.device(device):
        return _image_tower(name, config, quick_gelu)


def _image_tower(name: str, config: dict[str, Any], quick_gelu: bool) -> VisionTransformer:
    """The image tower of an open_clip config as a timm ViT, its projection as the head."""
    vision = config["vision_cfg"]
    if vision.get("timm_model_name"):
        trunk: object = timm.create_model(vision["timm_model_name"], num_classes=0)
        if isinstance(trunk, VisionTransformer):
            return trunk
    plain = "patch_size" in vision and isinstance(vision.get("layers"), int)
    unusual = [key for key in _UNUSUAL if vision.get(key)]
    if not plain or unusual or vision.get("timm_model_name"):
        raise ModelError(
            f"The image tower of {name} is no plain ViT",
            expected="a class-token ViT with patch_size, width and layers",
            found=", ".join(unusual) or vision.get("timm_model_name") or "another architecture",
        )
    return _plain_vit(name, config["embed_dim"], vision, quick_gelu)


def _plain_vit(name: str, out_dim: int, vision: dict[str, Any], quick_gelu: bool) -> VisionTransformer:
    try:
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
            num_classes=out_dim,
        )
    except (AssertionError, ArithmeticError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"Cannot build the image tower of {name}",
            expected="a vision_cfg whose head_width divides its width",
            found=f"{type(error).__name__}: {str(error)[:200]}",
        ) from None
    tower: VisionTransformer = vit
    return tower


def _check_size(clip: ClipDirectory, state: Mapping[str, Any]) -> None:
    """A few bytes of config must not make us build a network that the weights cannot fill."""
    vision = clip.config["vision_cfg"]
    if vision.get("timm_model_name") or not isinstance(vision["layers"], int):
        return
    kernel = state.get("visual.conv1.weight")
    blocks = {
        found[1] for name in state if (found := re.match(r"visual\.transformer\.resblocks\.(\d+)\.", name))
    }
    width = int(kernel.shape[0]) if isinstance(kernel, Tensor) and kernel.ndim == 4 else None
    if (width, len(blocks)) != (vision["width"], vision["layers"]):
        raise CheckpointError(
            f"The weights at {clip.source} do not fit their config",
            expected=f"an image tower of width {vision['width']} with {vision['layers']} blocks",
            found=f"width {width} with {len(blocks)} blocks",
        )
