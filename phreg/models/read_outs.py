"""Read-outs: how dense features are taken from the last block of a ViT.

Shapes: B batch, N tokens (prefix tokens, then the P = h w patches), D width, H heads, d head width.

| name       | attention                                | the block's residual and MLP | source   |
| ---------- | ---------------------------------------- | ---------------------------- | -------- |
| `standard` | softmax(q k^T)                           | kept                         | the model |
| `value`    | none: the values themselves              | left out                     | MaskCLIP |
| `csa`      | softmax(q q^T) + softmax(k k^T), a sum   | kept                         | SCLIP    |
| `naclip`   | softmax(k k^T + gaussian of the distance) | left out                    | NACLIP   |
| `qq`       | softmax(q q^T)                           | left out                     | ClearCLIP |

All products are scaled by 1 / sqrt(d), and are of rotated queries and keys where positions are rotary. The
biases of relative positions, which are of q k^T, are in `standard` alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from torch import Tensor, nn

from phreg.errors import ModelError
from phreg.models.families import Family, Rope

NACLIP_STD = 5.0  # patches
Grid = tuple[int, int]


class ReadOutSpec(NamedTuple):
    """How the last block is run.

    `attend`: of queries, keys and values, each [B, H, N, d], rotated where positions are rotary, and the grid
    (h, w) of the patches, the last h w tokens: what takes the place of the heads' outputs [B, H, N, d]. None:
    the block as the model has it.
    `keeps_mlp`: whether the block's residual and MLP are kept.
    `timm`: the same as lines of stock timm for model cards, from `q`, `k` and `v` to a new `v`.
    """

    attend: Callable[[Tensor, Tensor, Tensor, Grid], Tensor] | None
    keeps_mlp: bool = False
    timm: tuple[str, ...] = ()


def neighbour_bias(grid: tuple[int, int], prefix: int, std: float = NACLIP_STD) -> Float[Tensor, "N N"]:
    """NACLIP's bias: exp(-|p_i - p_j|^2 / (2 std^2)) between patches, zero for prefix tokens."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack([rows, columns], -1).reshape(-1, 2).float()
    squared = (places[:, None] - places[None]).square().sum(-1)
    return F.pad(torch.exp(-squared / (2 * std**2)), (prefix, 0, prefix, 0))


def _naclip(q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
    bias = neighbour_bias(grid, v.shape[2] - grid[0] * grid[1]).to(k)
    return F.scaled_dot_product_attention(k, k, v, attn_mask=bias)


def _csa(q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
    return F.scaled_dot_product_attention(q, q, v) + F.scaled_dot_product_attention(k, k, v)


READ_OUTS: dict[str, ReadOutSpec] = {
    "standard": ReadOutSpec(None, keeps_mlp=True),
    "value": ReadOutSpec(lambda q, k, v, grid: v),
    "csa": ReadOutSpec(
        _csa,
        keeps_mlp=True,
        timm=("v = F.scaled_dot_product_attention(q, q, v) + F.scaled_dot_product_attention(k, k, v)",),
    ),
    "naclip": ReadOutSpec(
        _naclip,
        timm=(
            "h, w = (side // model.patch_embed.patch_size[0] for side in images.shape[-2:])",
            "place = torch.cartesian_prod(torch.arange(h), torch.arange(w)).to(images)",
            f"near = torch.exp(-(place[:, None] - place[None]).square().sum(-1) / {2 * NACLIP_STD**2:g})",
            "bias = F.pad(near, (model.num_prefix_tokens, 0, model.num_prefix_tokens, 0))",
            "v = F.scaled_dot_product_attention(k, k, v, attn_mask=bias)",
        ),
    ),
    "qq": ReadOutSpec(
        lambda q, k, v, grid: F.scaled_dot_product_attention(q, q, v),
        timm=("v = F.scaled_dot_product_attention(q, q, v)",),
    ),
}


def check_read_out(read_out: str, family: Family, block: nn.Module) -> None:
    """Raises `ModelError` for an unknown read-out, or a last block that this one cannot be taken from."""
    if read_out not in READ_OUTS:
        raise ModelError(f"There is no read-out {read_out!r}", expected=f"one of {', '.join(READ_OUTS)}")
    if read_out != "standard" and not family.is_plain(block):
        raise ModelError(
            f"The read-out {read_out!r} needs a plain last block",
            expected="attention, then an MLP, each after a norm, and no gate",
            found=f"timm's {type(block).__name__}",
            remedy="use read_out: standard for this model",
        )


def run_last_block(
    family: Family,
    block: Any,
    x: Float[Tensor, "B N D"],
    rope: Rope,
    read_out: str,
    grid: Grid,
) -> Float[Tensor, "B N D"]:
    """The last block under a read-out; `grid` (h, w) tells which of the tokens are patches, the last h w."""
    how = READ_OUTS[read_out]
    if how.attend is None:
        return family.run_block(block, x, rope)
    q, k, v = family.heads(block.attn, block.norm1(x), rope)
    branch = family.scaled(block, _joined(block.attn, how.attend(q, k, v, grid)))
    if not how.keeps_mlp:
        return branch
    x = x + branch
    return x + family.mlp(block, x)


def _joined(attention: Any, heads: Float[Tensor, "B H N d"]) -> Float[Tensor, "B N D"]:
    joined = heads.transpose(1, 2).flatten(2)
    projected: Tensor = attention.proj(attention.norm(joined) if hasattr(attention, "norm") else joined)
    return projected
