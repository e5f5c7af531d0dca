"""Students in timm's hub layout: `config.json` and `model.safetensors`, loadable by stock timm."""

import json
from typing import Any

import safetensors.torch
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from phreg.errors import ModelError
from phreg.models.architecture import base_architecture, check_stock, vit_arguments
from phreg.models.backbone import Backbone
from phreg.models.checkpoint_parts import image_part
from phreg.models.head import settle_head
from phreg.models.hub_config import HubConfig, build_vit, outline_of, parse_hub_config
from phreg.models.read_outs import NACLIP_STD
from phreg.models.registered import read_as_registered
from phreg.models.student import Student
from phreg.models.weight_files import INDEX, read_first
from phreg.models.weights import load_weights
from phreg.storage import Folder

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_WEIGHTS = (WEIGHTS_FILE, f"{WEIGHTS_FILE}{INDEX}", "pytorch_model.bin", f"pytorch_model.bin{INDEX}")


def hub_files(model: Backbone, extra: dict[str, Any] | None = None) -> dict[str, bytes]:
    """The two files of a model, by name; `extra` is kept in the config under `phreg`.

    Raises `ModelError` if stock timm would build another network from them, or if a weight is NaN or Inf.
    """
    vit = model.vit
    architecture, arguments = base_architecture(vit), vit_arguments(vit)
    check_stock(vit, architecture, arguments)
    config = {
        "architecture": architecture,
        "num_classes": arguments["num_classes"],
        "num_features": arguments["embed_dim"],
        "global_pool": arguments["global_pool"],
        "model_args": arguments | {"dynamic_img_size": True},
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
        "phreg": {"read_out": model.read_out} | (extra or {}),
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in vit.state_dict().items()}
    _check_finite(weights)
    return {
        CONFIG_FILE: json.dumps(config, indent=2).encode(),
        WEIGHTS_FILE: safetensors.torch.save(weights, metadata={"format": "pt"}),
    }


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
    settle_head(vit, None, uri, sure=config.is_ours)
    vit.eval().requires_grad_(False)
    mean, std = config.pretrained_cfg.mean, config.pretrained_cfg.std
    if mean is None or std is None:
        raise ModelError(f"The student in {uri} has no normalisation", "mean and std in pretrained_cfg")
    return Student(vit, config.phreg.read_out, mean, std).eval()


def read_hub_folder(
    uri: str, state: dict[str, Any] | None = None
) -> tuple[VisionTransformer, dict[str, Any], HubConfig]:
    """The network (not yet with its weights), its weights (the folder's, if none are given), its config."""
    folder = Folder(uri)
    source = folder.url_of(CONFIG_FILE)
    config = parse_hub_config(read_as_registered(folder, CONFIG_FILE), source)
    outline = outline_of(config, source)  # refused, if need be, before its weights are read
    if state is None:
        found = read_first(_WEIGHTS, lambda name: read_as_registered(folder, name), folder.url_of)
        state = image_part(found, uri)
    parameters = sum(value.numel() for value in state.values() if isinstance(value, Tensor))
    return build_vit(config, source, outline, parameters), state, config


_BEFORE = (
    "before = model.forward_intermediates(images, indices=[len(model.blocks) - 2], "
    'output_fmt="NLC", intermediates_only=True)[0]',
    "last = model.blocks[-1]",
)
_ATTENTION = {
    "value": ("v = last.attn.qkv(last.norm1(before)).chunk(3, dim=-1)[2]",),
    "naclip": (
        "h, w = (side // model.patch_embed.patch_size[0] for side in images.shape[-2:])",
        "place = torch.cartesian_prod(torch.arange(h), torch.arange(w)).to(images)",
        "near = torch.exp(-(place[:, None] - place[None]).square().sum(-1) / {twice_variance:g})",
        "bias = F.pad(near, (model.num_prefix_tokens, 0, model.num_prefix_tokens, 0))",
        "v = F.scaled_dot_product_attention(k, k, v, attn_mask=bias)",
    ),
    "csa": ("v = F.scaled_dot_product_attention(q, q, v) + F.scaled_dot_product_attention(k, k, v)",),
    "qq": ("v = F.scaled_dot_product_attention(q, q, v)",),
}
"""Lines that end with what the heads give, `v`, in place of the last block's own attention."""
_HEADS = (
    "patches, prefix = model.forward_intermediates(images, indices=[len(model.blocks) - 2], "
    'return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True)[0]',
    "before, last = torch.cat([prefix, patches], 1), model.blocks[-1]",
    "qkv = last.attn.qkv(last.norm1(before)).unflatten(-1, (3, last.attn.num_heads, -1))",
    "q, k, v = qkv.permute(2, 0, 3, 1, 4)",
    "q, k = last.attn.q_norm(q), last.attn.k_norm(k)",
)


def timm_snippet(model: Backbone, path: str) -> str:
    """Stock timm lines that load a saved model and give its dense features [B, P, C], row-major.

    `images` are normalised, [B, 3, H, W]. Nothing of phreg is used.
    """
    loading = f'model = timm.create_model("local-dir:{path}", pretrained=True).eval()'
    features = "model.forward_features(images)[:, model.num_prefix_tokens:]"
    if model.read_out != "standard":
        lines, out = _last_block(model.read_out)
        imports = ["import timm"] if model.read_out == "value" else _IMPORTS
        lines = [*imports, loading, *lines]
        features = f"model.fc_norm(model.norm({out}))"
    else:
        lines = ["import timm", loading]
        if type(model.vit.fc_norm).__name__ != "Identity":
            features = f"model.fc_norm({features})"
    lines.append(f"features = {f'model.head({features})' if model.projects else features}")
    return "\n".join(lines)


_IMPORTS = ["import timm", "import torch", "import torch.nn.functional as F"]


def _last_block(read_out: str) -> tuple[list[str], str]:
    """Lines of the last block under a read-out (see `read_outs.py`), and what they give of the patches."""
    lines = [line.format(twice_variance=2 * NACLIP_STD**2) for line in _ATTENTION[read_out]]
    if read_out == "value":
        return [*_BEFORE, *lines], "last.ls1(last.attn.proj(v))"
    patches = "[:, model.num_prefix_tokens:]"
    lines = [
        *_HEADS,
        *lines,
        "branch = last.ls1(last.attn.proj(last.attn.norm(v.transpose(1, 2).flatten(2))))",
    ]
    if read_out != "csa":
        return lines, "branch" + patches
    lines += ["x = before + branch", "x = x + last.ls2(last.mlp(last.norm2(x)))"]
    return lines, "x" + patches
