"""A ViT as plain data: the arguments with which stock timm builds the same network."""

from typing import Any

import timm
import torch
from torch import nn

from phreg.errors import ModelError
from phreg.models.families import family_of

# Given when a network is made, and of no meaning for what it computes of images whose sides fit.
_RUNTIME = frozenset(
    {"weight_init", "fix_init", "head_init_scale", "in_chans", "device", "dtype", "dynamic_img_size",
     "dynamic_img_pad", "strict_img_size", "drop_rate"}
)  # fmt: skip


def vit_arguments(vit: Any) -> dict[str, Any]:
    """Arguments for `timm.create_model(base_architecture(vit), **arguments)`."""
    told = family_of(vit).arguments(vit)
    return told | {name: value for name, value in _given(vit).items() if name not in told}


def base_architecture(vit: Any) -> str:
    """The timm architecture that the arguments refine: the model's own, or a plain one with its norms."""
    base = family_of(vit).base(vit)
    if base is None:
        block = vit.blocks[0]
        norm = getattr(block, "norm1", None)
        raise ModelError(
            "This network is not one that stock timm can name",
            expected="a registered architecture, or plain blocks with timm's own norms",
            found=f"{type(block).__name__} with {type(norm).__name__} {getattr(norm, 'eps', '')}".strip(),
            remedy="build it with timm.create_model from a registered architecture",
        )
    return base


def check_stock(vit: Any, architecture: str, arguments: dict[str, Any]) -> None:
    """Raises `ModelError` unless stock timm builds a network of just these modules and weights from it."""
    try:
        with torch.device("meta"):
            stock = timm.create_model(architecture, pretrained=False, **arguments)
    except Exception as error:  # timm's constructors raise nearly anything
        found = f"{type(error).__name__}: {str(error)[:200]}"
    else:
        found = _difference(vit, stock)
    if found:
        raise ModelError(
            "Stock timm would build another network from this student's config",
            expected=f"{architecture} with {arguments}",
            found=found,
            remedy="build the teacher with timm.create_model from a registered architecture",
        )


def _difference(vit: nn.Module, stock: nn.Module) -> str:
    """In what two networks differ, in a few words; empty if in nothing that is known."""
    for what, describe in (("weights", _weights), ("norm epsilons", _epsilons), ("modules", _modules)):
        ours, theirs = describe(vit), describe(stock)
        differing = sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
        if differing:
            return f"other {what}: {differing[:5]}"
    told, again = family_of(vit).arguments(vit), family_of(stock).arguments(stock)
    return "" if told == again else f"other arguments: {sorted(n for n in told if told[n] != again.get(n))}"


def _weights(network: nn.Module) -> dict[str, Any]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _epsilons(network: nn.Module) -> dict[str, Any]:
    return {name: module.eps for name, module in network.named_modules() if hasattr(module, "eps")}


def _modules(network: nn.Module) -> dict[str, Any]:
    """Types of the parts within blocks; what computes the same by another class is called the same."""
    same = {"Dropout": "Identity", "DropPath": "Identity"}
    parts = [(n, type(m).__name__) for n, m in network.named_modules() if n.startswith("blocks.")]
    return {name: same.get(kind, kind) for name, kind in parts if "act" not in name.rpartition(".")[2]}


def _given(vit: Any) -> dict[str, Any]:
    """Plain arguments that whoever made the network gave beside the name of its architecture."""
    given: dict[str, Any] = getattr(vit, "_model_args", {})
    kept = [name for name in given if name not in _RUNTIME and not name.endswith("_drop_rate")]
    return {name: given[name] for name in kept if _plain(given[name])}


def _plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)
