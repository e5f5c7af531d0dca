"""Teachers by name: timm, open_clip, or a directory in timm's or in open_clip's hub layout."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt
import timm
import torch
from huggingface_hub import snapshot_download
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from torch import nn

from phreg.config.run import TeacherConfig
from phreg.errors import DownloadError
from phreg.models.backbone import Backbone
from phreg.models.clip_details import Statistics, check_timm_gelu
from phreg.models.clip_directory import is_clip_directory
from phreg.models.clip_tower import downloaded, tower_by_name, tower_of_directory
from phreg.models.families import as_plain, check_class, family_of
from phreg.models.head import head_of_tag, normalises_first, settle_head
from phreg.models.hub import DOWNLOADED, WEIGHTS_FILE, read_hub_folder
from phreg.models.model_names import check_timm_name, unknown_form
from phreg.models.sizes import cut_after, resize, settled_resize
from phreg.models.weight_files import read_state_dict
from phreg.models.weights import load_weights
from phreg.progress import tell

Numbers = Sequence[float] | npt.NDArray[Any] | torch.Tensor


class Given(NamedTuple):
    """What a user says beside a model's name: see `load_backbone`."""

    checkpoint: str | None
    key: str | None
    head: str | None

    def state(self) -> dict[str, Any] | None:
        return None if self.checkpoint is None else read_state_dict(self.checkpoint, self.key)


class Loaded(NamedTuple):
    """A network with its weights, and what its source says of mean and std, and of how it was resampled."""

    vit: Any
    statistics: Statistics | None = None
    pos_embed_resize: str | None = None


def load_backbone(
    model: str | nn.Module,
    checkpoint: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    read_out: str = "standard",
    mean: Numbers | None = None,
    std: Numbers | None = None,
    head: str | None = None,
    checkpoint_key: str | None = None,
    block: int | None = None,
    pos_embed_resize: str | None = None,
) -> Backbone:
    """A frozen ViT in eval mode that maps normalised images to dense features.

    Args:
        model: a name or a network of timm's (`VisionTransformer`, `Eva`, `NaFlexVit`,
            `VisionTransformerRelPos`, `Beit`), copied and left as it is. Names are `timm/NAME[.TAG]`,
            `open_clip/NAME[:TAG]`, `local-dir:PATH` (timm's hub layout),
            `hf-hub:OWNER/NAME[@REVISION]` (that layout on a hub), `open_clip-dir:PATH` (open_clip's)
            and `phreg/small-clip` (the one we ship).
        checkpoint: fsspec URL of weights in timm's, DINOv2's or CLIP's naming; without one, a named
            model's weights are downloaded.
        image_size: pixels, one side or (H, W); the positional embedding is resampled to it once.
        read_out: `standard`, `value`, `csa`, `naclip` or `qq`.
        mean: per channel, of images in [0, 1]; default: the model's own (CLIP's for a bare CLIP-like ViT,
            ImageNet's for any other).
        std: likewise.
        head: what a linear head is: CLIP's `projection`, which is part of its features, or a `classifier`.
            Default: what weights, tag and architecture say; in a CLIP-like ViT of your own, a projection.
        checkpoint_key: which network of a checkpoint that has several, for instance `teacher.backbone`.
        block: the features are those after this block, -2 for the last but one, then the final norm: blocks
            after it and a projection are left out.
        pos_embed_resize: how absolute positions are resampled to another size: `paper` (the default), `timm`
            or `dinov2`; see `position.py`. A student's directory says what it was trained with.

    Raises `ModelError`, `CheckpointError` or `DownloadError`.
    """
    tell(f"loading {model}" if isinstance(model, str) else "loading the model")
    given = Given(checkpoint, checkpoint_key, head)
    vit, own, recorded = _named(model, given) if isinstance(model, str) else _made(model, given)
    how = settled_resize(vit, pos_embed_resize) if pos_embed_resize else recorded or "paper"
    cut_after(vit, block)
    source_digest = resize(vit, image_size, how)
    vit.eval().requires_grad_(False)
    statistics = own or _own_statistics(vit)
    mean, std = (own if given is None else given for given, own in zip((mean, std), statistics, strict=True))
    return Backbone(vit, read_out, mean, std, source_digest, how).eval()


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
        config.block,
        config.pos_embed_resize,
    )


def _made(network: nn.Module, given: Given) -> Loaded:
    """A network of the caller's, copied."""
    vit, state = copy.deepcopy(network), given.state()
    check_class(vit)
    if state is not None:
        load_weights(vit, state, str(given.checkpoint), given.head)
    vit = as_plain(vit)
    settle_head(vit, given.head, f"this {type(vit).__name__}", given=True)
    return Loaded(vit)


def _named(name: str, given: Given) -> Loaded:
    form, _, rest = name.partition("/" if name.startswith(("timm/", "open_clip/")) else ":")
    if form == "timm":
        return _from_timm(rest, given)
    if form in ("local-dir", "hf-hub"):
        return _from_directory(rest if form == "local-dir" else _snapshot(rest, not given.checkpoint), given)
    if form == "open_clip":
        vit, statistics = tower_by_name(rest, *given)
    elif is_clip_directory(name):
        vit, statistics = tower_of_directory(name, *given)
    else:
        raise unknown_form(name)
    return Loaded(vit, statistics)


def _from_timm(name: str, given: Given) -> Loaded:
    check_timm_name(name)
    with torch.device("meta"):  # before any weights are downloaded
        outline = timm.create_model(name, pretrained=False)
        outline = as_plain(outline)
        family_of(outline, f"timm's {name}").check(outline)
    state, head = given.state(), given.head
    check_timm_gelu(name, state)
    vit: Any = downloaded(lambda: timm.create_model(name, pretrained=state is None), f"timm/{name}")
    if state is not None:
        head = head or head_of_tag(name.partition(".")[2])
        load_weights(vit, state, str(given.checkpoint), head)
    vit = as_plain(vit)
    settle_head(vit, head, f"timm/{name}")
    return Loaded(vit)


def _from_directory(path: str, given: Given) -> Loaded:
    vit, state, config = read_hub_folder(path, given.state())
    if "act_layer" not in config.model_args:
        check_timm_gelu(f"{config.architecture}.{config.tag}", state)
    load_weights(vit, state, given.checkpoint or path, given.head or head_of_tag(config.tag))
    vit = as_plain(vit)
    settle_head(vit, given.head, path, sure=config.is_ours and given.checkpoint is None)
    return Loaded(vit, None, config.phreg.pos_embed_resize)


def _snapshot(name: str, with_weights: bool) -> str:
    """The folder of a hub's model in timm's layout: downloaded, or from the hub's own cache."""
    name, _, revision = name.partition("@")
    wanted = DOWNLOADED if with_weights else DOWNLOADED[:1]
    fetch = lambda: snapshot_download(name, revision=revision or None, allow_patterns=list(wanted))  # noqa: E731
    path = downloaded(fetch, f"hf-hub:{name}")
    there = {file.name for file in Path(path).iterdir()}
    lacking = DOWNLOADED[0] not in there or (with_weights and not any(WEIGHTS_FILE in file for file in there))
    if lacking:
        raise DownloadError(
            f"hf-hub:{name} is no model in timm's hub layout",
            expected=f"{DOWNLOADED[0]} and weights as {WEIGHTS_FILE}, whole or with an index",
            found=", ".join(sorted(there)) or "neither of them",
            remedy="name a model that timm's hub pages show, or give `checkpoint:` beside timm/NAME",
        )
    return path


def _own_statistics(vit: Any) -> Statistics:
    config = getattr(vit, "pretrained_cfg", None) or {}
    if config.get("mean") and config.get("std"):
        return config["mean"], config["std"]
    if isinstance(vit.head, nn.Linear) or normalises_first(vit):  # as CLIP's image towers
        return OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
    return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
