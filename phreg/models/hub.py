"""Students in timm's hub layout: `config.json` and `model.safetensors`, loadable by stock timm."""

import contextlib
import inspect
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import Module

from phreg.errors import CheckpointError, ModelError, StorageError
from phreg.models.architecture import base_architecture, check_stock, vit_arguments
from phreg.models.backbone import Backbone
from phreg.models.checkpoint_parts import image_part
from phreg.models.connector import Connector
from phreg.models.families import as_plain
from phreg.models.head import settle_head
from phreg.models.hub_config import HubConfig, build_vit, outline_of, parse_hub_config
from phreg.models.lora import merged
from phreg.models.registered import read_as_registered
from phreg.models.student import Student
from phreg.models.weight_files import INDEX, check_values, parse_state_dict, read_first
from phreg.models.weights import load_weights
from phreg.storage import Folder

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CONNECTOR_FILE = "connector.safetensors"
_WEIGHTS = (
    *(WEIGHTS_FILE, f"{WEIGHTS_FILE}{INDEX}", "pytorch_model.bin", f"pytorch_model.bin{INDEX}"),
    *("pytorch_model.pth", "model.pth"),  # as stock timm goes on
)
_ENDINGS = (".safetensors", ".pth", ".pth.tar", ".bin")
DOWNLOADED = (CONFIG_FILE, WEIGHTS_FILE, f"{WEIGHTS_FILE}{INDEX}", "model-*.safetensors")
"""What is taken from a hub's folder in that layout, as glob patterns: weights as safetensors alone."""


def hub_files(model: Backbone, extra: dict[str, Any] | None = None) -> dict[str, bytes]:
    """The files of a model, by name: two, and its connector's; `extra` is kept in the config under `phreg`.

    Raises `ModelError` if stock timm would build another network from them, or if a weight is NaN or Inf.
    """
    vit = merged(model.vit)
    architecture, arguments = base_architecture(vit), vit_arguments(vit)
    check_stock(vit, architecture, arguments)
    own: dict[str, Any] = {"read_out": model.read_out, "pos_embed_resize": model.pos_embed_resize}
    if model.connector is not None:
        own["connector_grid"] = list(model.connector.grid)
    config = {
        "architecture": architecture,
        "num_classes": arguments["num_classes"],
        "num_features": arguments["embed_dim"],
        "global_pool": arguments["global_pool"],
        "model_args": arguments | ({"dynamic_img_size": True} if _takes_any_size(vit) else {}),
        "pretrained_cfg": {
            "tag": "phreg",
            "input_size": [3, *model.image_size],
            "fixed_input_size": False,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "mean": [float(x) for x in model.mean],
            "std": [float(x) for x in model.std],
            "num_classes": arguments["num_classes"],
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
        "phreg": own | (extra or {}),
    }
    files = {CONFIG_FILE: json.dumps(config, indent=2).encode(), WEIGHTS_FILE: _as_safetensors(vit)}
    return files if model.connector is None else files | {CONNECTOR_FILE: _as_safetensors(model.connector)}


def _takes_any_size(vit: Module) -> bool:
    """Whether timm's own network of that class can."""
    return "dynamic_img_size" in inspect.signature(type(vit).__init__).parameters


def _as_safetensors(module: Module) -> bytes:
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    _check_finite(weights)
    return safetensors.torch.save(weights, metadata={"format": "pt"})


def _check_finite(weights: dict[str, Tensor]) -> None:
    bad = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ModelError(
            "The model has weights that are NaN or Inf, and is not saved",
            expected="finite weights",
            found=f"{len(bad)} of {len(weights)} tensors with others: {', '.join(bad[:5])}",
        )


def load_student(uri: str) -> Student:
    """A student from a directory in timm's hub layout (a registry entry's version), at any fsspec URL.

    Its read-out and normalisation are those it was trained with. Raises `ModelError`, and `RegistryError`
    for a registered one whose files are not what was registered.
    """
    vit, state, config = read_hub_folder(uri)
    load_weights(vit, state, uri)
    vit = as_plain(vit)
    settle_head(vit, None, uri, sure=config.is_ours)
    vit.eval().requires_grad_(False)
    mean, std = config.pretrained_cfg.mean, config.pretrained_cfg.std
    if mean is None or std is None:
        raise ModelError(f"The student in {uri} has no normalisation", "mean and std in pretrained_cfg")
    resize = config.phreg.pos_embed_resize
    student = Student(vit, config.phreg.read_out, mean, std, pos_embed_resize=resize)
    if config.phreg.connector_grid is not None:
        student.connector = _read_connector(Folder(uri), student.out_dim, config.phreg.connector_grid)
    return student.eval()


def _read_connector(folder: Folder, channels: int, grid: tuple[int, int]) -> Connector:
    source = folder.url_of(CONNECTOR_FILE)
    state = parse_state_dict(read_as_registered(folder, CONNECTOR_FILE), source)
    weight, bias = (state.get(name, torch.empty(0)) for name in ("weight", "bias"))
    if weight.ndim != 2 or weight.shape[1] != channels or bias.shape != weight.shape[:1]:
        raise CheckpointError(
            f"The connector at {source} does not fit its student",
            expected=f"a weight of {channels} columns, and a bias",
            found=f"{tuple(weight.shape)} and {tuple(bias.shape)}",
        )
    check_values(state, source)
    connector = Connector(channels, len(weight), grid)
    connector.load_state_dict({"weight": weight, "bias": bias})
    return connector.requires_grad_(False)


def read_hub_folder(uri: str, state: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any], HubConfig]:
    """The network (not yet with its weights), its weights (the folder's, if none are given), its config."""
    folder = Folder(uri)
    source = folder.url_of(CONFIG_FILE)
    config = parse_hub_config(read_as_registered(folder, CONFIG_FILE), source)
    outline = outline_of(config, source)  # refused, if need be, before its weights are read
    if state is None:
        found = read_first(_weight_files(folder), partial(read_as_registered, folder), folder.url_of)
        state = image_part(found, uri)
    parameters = sum(value.numel() for value in state.values() if isinstance(value, Tensor))
    return build_vit(config, source, outline, parameters), state, config


def _weight_files(folder: Folder) -> Iterator[str]:
    """Names as stock timm tries them; then that of the one other file of weights that is there.

    Raises `CheckpointError` for several others: stock timm takes whichever comes first.
    """
    yield from _WEIGHTS
    with contextlib.suppress(StorageError):  # not every place can be listed
        others = [name for name in folder.children() if name.endswith(_ENDINGS)]
        if len(others) > 1:
            raise CheckpointError(
                f"It is not clear which weights of {folder.url} are meant",
                expected=f"{WEIGHTS_FILE}, or one file of weights under another name",
                found=", ".join(others[:10]),
                remedy="give the one that is meant as `checkpoint` (`--checkpoint`), or rename it",
            )
        yield from others
