"""Putting weights that somebody else wrote into a ViT: only such as fit it, and are finite numbers."""

import math
from collections.abc import Mapping
from typing import Any

from timm.models.naflexvit import NaFlexVit, checkpoint_filter_fn
from torch import Tensor, nn

from phreg.errors import CheckpointError
from phreg.models.families import family_of
from phreg.models.families.relative import named_as_others
from phreg.models.head import may_project
from phreg.models.weight_files import check_values

_KERNELS = ("visual.conv1.weight", "visual.trunk.patch_embed.proj.weight", "patch_embed.proj.weight")
_NOT_OURS = (
    "decoder_",
    "dino_head.",
    "ibot_head.",
    "n_averaged",
)  # of its training: heads, an average's count
_POSITIONS = ("visual.positional_embedding", "visual.trunk.pos_embed", "pos_embed")


def load_weights(vit: Any, state: Mapping[str, Any], source: str, head: str | None = None) -> None:
    """Load weights in timm's naming, or one that timm knows, into `vit`, all or nothing.

    The model takes the checkpoint's own grid (resampling to a wanted size comes later, by our rule).
    A head of another width is rebuilt. It may be missing if it is a classifier: `head` says so, or there is
    no norm before the first block.
    """
    state = {k: v for k, v in state.items() if not str(k).startswith(_NOT_OURS)}
    if isinstance(vit, NaFlexVit):
        return _load_naflex(vit, state, source)
    named_as_others(vit)
    _check_patch(vit, state, source)
    _take_grid(vit, state)
    try:
        renamed = family_of(vit).renamed(vit, state)
    except Exception as error:
        raise CheckpointError(f"The weights at {source} do not fit", found=str(error)[:200]) from None
    renamed = {name: tensor for name, tensor in renamed.items() if isinstance(tensor, Tensor)}
    if vit.attn_pool is None:
        renamed = {name: tensor for name, tensor in renamed.items() if not name.startswith("attn_pool.")}
    _take_head(vit, renamed)
    _check_fits(vit, renamed, vit.state_dict(), source, head)
    check_values(renamed, source)
    vit.load_state_dict(renamed, strict=False)


def _load_naflex(vit: NaFlexVit, state: dict[str, Any], source: str) -> None:
    try:
        renamed = checkpoint_filter_fn(state, vit)
    except Exception as error:
        raise CheckpointError(f"The weights at {source} do not fit", found=str(error)[:200]) from None
    renamed = {name: tensor for name, tensor in renamed.items() if isinstance(tensor, Tensor)}
    lost = ("head.", "attn_pool.")  # no part of the features
    own = {name: tensor for name, tensor in vit.state_dict().items() if not name.startswith(lost)}
    renamed = {name: tensor for name, tensor in renamed.items() if not name.startswith(lost)}
    _check_fits(vit, renamed, own, source, "classifier")
    check_values(renamed, source)
    vit.load_state_dict(renamed, strict=False)


def _check_patch(vit: Any, state: Mapping[str, Any], source: str) -> None:
    """timm would resample the kernel without a word."""
    kernel = next((state[name] for name in _KERNELS if isinstance(state.get(name), Tensor)), None)
    ours = tuple(vit.patch_embed.patch_size)
    if kernel is not None and kernel.ndim == 4 and tuple(kernel.shape[-2:]) != ours:
        raise CheckpointError(
            f"The weights at {source} are for patches of another size",
            expected=f"{ours[0]} x {ours[1]} pixels",
            found=f"{kernel.shape[-2]} x {kernel.shape[-1]}",
            remedy="name the model that these weights were made for",
        )


def _take_grid(vit: Any, state: Mapping[str, Any]) -> None:
    position = next((state[name] for name in _POSITIONS if isinstance(state.get(name), Tensor)), None)
    if position is None or vit.pos_embed is None:
        return
    if position.ndim not in (2, 3) or position.shape[-1] != vit.embed_dim:
        return  # seen not to fit later
    tokens = position.shape[-2]
    if tokens == vit.pos_embed.shape[1]:
        return
    for prefix in (1, 0, vit.num_prefix_tokens):  # class token embedded, nothing, registers too
        side = math.isqrt(max(tokens - prefix, 0))
        if side and side**2 == tokens - prefix:
            if vit.patch_embed.grid_size != (side, side):
                patch = vit.patch_embed.patch_size[0]
                vit.set_input_size((side * patch, side * patch))
            return


def _take_head(vit: Any, state: dict[str, Tensor]) -> None:
    weight = state.get("head.weight")
    if weight is None:
        return
    if weight.ndim == 2 and weight.shape[1] != vit.embed_dim:
        return  # seen not to fit later
    if isinstance(vit.head, nn.Identity) and may_project(vit) and weight.ndim == 2:
        vit.reset_classifier(weight.shape[0])  # CLIP's projection
    elif isinstance(vit.head, nn.Identity):
        for name in ("head.weight", "head.bias"):
            state.pop(name, None)
    elif weight.ndim == 2 and weight.shape[0] != vit.head.out_features:
        vit.reset_classifier(weight.shape[0])


def _check_fits(
    vit: Any, state: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str, head: str | None
) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    # A classifier may be missing; CLIP's projection is part of the features.
    may_lack_head = head == "classifier" or not may_project(vit)
    optional = ("head.",) if may_lack_head else ()
    absent = [name for name in expected if name not in found and not name.startswith(optional)]
    extra = [name for name in found if name not in expected]
    other = [n for n in expected if n in found and found[n] != expected[n]]
    if not (absent or extra or other):
        return
    lines = [f"{len(absent)} weights are missing, for instance {absent[:3]}"] if absent else []
    lines += [f"{len(extra)} weights are unknown to the model, for instance {extra[:3]}"] if extra else []
    lines += [f"{name} is {found[name]}, the model has {expected[name]}" for name in other[:3]]
    raise CheckpointError(
        f"The weights at {source} do not fit the model",
        expected=f"{len(expected)} weights of a ViT with width {vit.embed_dim} and {len(vit.blocks)} blocks",
        found="; ".join(lines),
        remedy="say `head: classifier` to take features before the head"
        if all(name.startswith("head.") for name in [*absent, *extra, *other])
        else "name the model that these weights were made for",
    )
