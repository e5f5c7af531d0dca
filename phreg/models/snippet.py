"""Lines of stock timm that give a saved model's dense features, under any read-out and for every family."""

from typing import Any

from timm.layers import AttentionRope
from timm.models.beit import Beit
from timm.models.eva import Eva
from torch import nn

from phreg.models.backbone import Backbone
from phreg.models.families.family import not_identity
from phreg.models.read_outs import READ_OUTS

_BEFORE = (
    "last, seen = model.blocks[-1], {}",
    "last.register_forward_pre_hook("
    "lambda block, args, more: seen.update(more, before=args[0]), with_kwargs=True)",
    "model.forward_features(images)",
    'before = seen["before"]',
)
"""What the last block is given: tokens, and `seen["rope"]` in families with rotary positions."""
_VALUE = (
    "before = model.forward_intermediates(images, indices=[len(model.blocks) - 2], "
    'output_fmt="NLC", intermediates_only=True)[0]',
    "last = model.blocks[-1]",
)
"""The shorter way to the patches alone: no other token has a part in their values."""


def timm_snippet(model: Backbone, path: str) -> str:
    """Stock timm lines that load a saved model and give its dense features [B, P, C], row-major.

    `images` are normalised, [B, 3, H, W]. Nothing of phreg is used.
    """
    lines = [f'model = timm.create_model("local-dir:{path}", pretrained=True).eval()']
    features = "model.forward_features(images)[:, model.num_prefix_tokens:]"
    if model.read_out != "standard":
        block, out = _last_block(model)
        lines, features = [*lines, *block], f"model.norm({out})"
    if model.read_out != "standard" or not_identity(model.vit.fc_norm):
        features = f"model.fc_norm({features})"
    lines.append(f"features = {f'model.head({features})' if model.projects else features}")
    return "\n".join([*_imports(lines), *lines])


def connector_snippet(model: Backbone, path: str) -> str:
    """Lines that go on from `timm_snippet` to the teacher's space, on the student's own grid; empty without a
    connector."""
    if model.connector is None:
        return ""
    return "\n".join(
        (
            "from safetensors.torch import load_file",
            f'connector = load_file("{path}/connector.safetensors")',
            'as_teacher = features @ connector["weight"].T + connector["bias"]',
        )
    )


def _imports(lines: list[str]) -> list[str]:
    code = "\n".join(lines)
    wanted = {
        "import timm": "timm.",
        "import torch": "torch.",
        "import torch.nn.functional as F": "F.",
        "from timm.layers import apply_rot_embed_cat": "apply_rot_embed_cat",
    }
    return [line for line, use in wanted.items() if use in code]


def _last_block(model: Backbone) -> tuple[list[str], str]:
    """Lines of the last block under a read-out (see `read_outs.py`), and what they give of the patches."""
    block: Any = model.vit.blocks[-1]
    short, is_vit = model.read_out == "value", not isinstance(model.vit, Eva | Beit)
    of_class = _of_vit if is_vit else _of_eva if isinstance(model.vit, Eva) else _of_beit
    lines = [*(_VALUE if short else _BEFORE), *of_class(block, short)]
    lines += READ_OUTS[model.read_out].timm
    inner = "v.transpose(1, 2).flatten(2)" if not (is_vit and short) else "v"
    inner = f"last.attn.norm({inner})" if not_identity(getattr(block.attn, "norm", nn.Identity())) else inner
    if is_vit:
        branch, mlp = f"last.ls1(last.attn.proj({inner}))", "last.ls2(last.mlp(last.norm2(x)))"
    else:
        branch, mlp = f"last.attn.proj({inner})", "last.mlp(last.norm2(x))"
        branch = branch if block.gamma_1 is None else f"last.gamma_1 * {branch}"
        mlp = mlp if block.gamma_2 is None else f"last.gamma_2 * {mlp}"
    if short:
        return lines, branch
    if not READ_OUTS[model.read_out].keeps_mlp:
        return [*lines, f"branch = {branch}"], "branch[:, model.num_prefix_tokens:]"
    return [*lines, f"x = before + {branch}", f"x = x + {mlp}"], "x[:, model.num_prefix_tokens:]"


def _of_vit(block: Any, value_alone: bool) -> list[str]:
    """Heads of timm's `Attention`: q, k and v, or the values not split into heads."""
    if value_alone:
        return ["v = last.attn.qkv(last.norm1(before)).chunk(3, dim=-1)[2]"]
    return [
        "qkv = last.attn.qkv(last.norm1(before)).unflatten(-1, (3, last.attn.num_heads, -1))",
        "q, k, v = qkv.permute(2, 0, 3, 1, 4)",
        "q, k = last.attn.q_norm(q), last.attn.k_norm(k)",
    ]


def _of_eva(block: Any, value_alone: bool) -> list[str]:
    """Heads of `EvaAttention` and `AttentionRope`."""
    a = block.attn
    lines = ["a, x = last.attn, last.norm1(before)"]
    if a.qkv is None:
        lines.append("parts = a.q_proj(x), a.k_proj(x), a.v_proj(x)")
    elif isinstance(a, AttentionRope) or a.q_bias is None:
        lines.append("parts = a.qkv(x).chunk(3, -1)")
    else:
        lines.append("bias = torch.cat((a.q_bias, a.k_bias, a.v_bias))")
        lines.append("parts = F.linear(x, a.qkv.weight, bias).chunk(3, -1)")
    lines.append("q, k, v = (part.unflatten(-1, (-1, a.head_dim)).transpose(1, 2) for part in parts)")
    if not value_alone:
        lines.append("q, k = a.q_norm(q), a.k_norm(k)")
        lines += [
            'n, rope = model.num_prefix_tokens, seen["rope"]',
            "if rope is not None:",
            "    turned = (apply_rot_embed_cat(t[:, :, n:], rope, half=a.rotate_half) for t in (q, k))",
            "    q, k = (torch.cat([t[:, :, :n], u], 2) for t, u in zip((q, k), turned))",
        ]
    if getattr(a, "num_kv_heads", a.num_heads) != a.num_heads:
        lines.append("k, v = (t.repeat_interleave(a.num_heads // a.num_kv_heads, 1) for t in (k, v))")
    return lines


def _of_beit(block: Any, value_alone: bool) -> list[str]:
    """Heads of `Beit`'s attention; its biases have no part in read-outs."""
    a = block.attn
    bias = "None" if a.q_bias is None else "torch.cat((a.q_bias, a.k_bias, a.v_bias))"
    return [
        "a, x = last.attn, last.norm1(before)",
        f"qkv = F.linear(x, a.qkv.weight, {bias}).unflatten(-1, (3, a.num_heads, -1))",
        "q, k, v = qkv.permute(2, 0, 3, 1, 4)",
    ]
