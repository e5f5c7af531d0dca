"""Read-outs: how dense features are taken from the last block of a ViT.

Shapes: B batch, N tokens (prefix tokens, then the P = h w patches), D width, H heads, d head width.

| name       | attention                                | the block's residual and MLP | source   |
| ---------- | ---------------------------------------- | ---------------------------- | -------- |
| `standard` | softmax(q k^T)                           | kept                         | the model |
| `value`    | none: the values themselves              | left out                     | MaskCLIP |
| `csa`      | softmax(q q^T) + softmax(k k^T), a sum   | kept                         | SCLIP    |
| `naclip`   | softmax(k k^T + gaussian of the distance) | left out                    | NACLIP   |
| `qq`       | softmax(q q^T)                           | left out                     | ClearCLIP |

All products are scaled by 1 / sqrt(d), and are of rotated queries and keys where positions are rotary.
"""

from typing import Any, get_args

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from torch import Tensor, nn

from phreg.errors import ModelError
from phreg.models.families import Family, Heads, Rope
from phreg.section import ReadOut

READ_OUTS: tuple[str, ...] = get_args(ReadOut)
NACLIP_STD = 5.0  # patches


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
    grid: tuple[int, int],
) -> Float[Tensor, "B N D"]:
    """The last block under a read-out; `grid` (h, w) tells which of the tokens are patches, the last h w."""
    if read_out == "standard":
        return family.run_block(block, x, rope)
    heads = family.heads(block.attn, block.norm1(x), rope)
    branch = family.scaled(block, _joined(block.attn, _attend(heads, read_out, grid)))
    if read_out != "csa":
        return branch
    x = x + branch
    return x + family.mlp(block, x)


def _attend(heads: Heads, read_out: str, grid: tuple[int, int]) -> Float[Tensor, "B H N d"]:
    q, k, v = heads
    if read_out == "value":
        return v
    if read_out == "naclip":
        bias = neighbour_bias(grid, v.shape[2] - grid[0] * grid[1]).to(k)
        return F.scaled_dot_product_attention(k, k, v, attn_mask=bias)
    if read_out == "csa":
        return F.scaled_dot_product_attention(q, q, v) + F.scaled_dot_product_attention(k, k, v)
    return F.scaled_dot_product_attention(q, q, v)


def _joined(attention: Any, heads: Float[Tensor, "B H N d"]) -> Float[Tensor, "B N D"]:
    projected: Tensor = attention.proj(attention.norm(heads.transpose(1, 2).flatten(2)))
    return projected


def neighbour_bias(grid: tuple[int, int], prefix: int, std: float = NACLIP_STD) -> Float[Tensor, "N N"]:
    """NACLIP's bias: exp(-|p_i - p_j|^2 / (2 std^2)) between patches, zero for prefix tokens."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack([rows, columns], -1).reshape(-1, 2).float()
    squared = (places[:, None] - places[None]).square().sum(-1)
    return F.pad(torch.exp(-squared / (2 * std**2)), (prefix, 0, prefix, 0))
