"""Read-outs: how dense features are taken from the last block of a ViT.

Shapes: B batch, N tokens (prefix tokens, then the P = h w patches), D width, H heads, d head width.

| name       | attention                                | the block's residual and MLP | source   |
| ---------- | ---------------------------------------- | ---------------------------- | -------- |
| `standard` | softmax(q k^T)                           | kept                         | the model |
| `value`    | none: the values themselves              | left out                     | MaskCLIP |
| `csa`      | softmax(q q^T) + softmax(k k^T), a sum   | kept                         | SCLIP    |
| `naclip`   | softmax(k k^T + gaussian of the distance) | left out                    | NACLIP   |
| `qq`       | softmax(q q^T)                           | left out                     | ClearCLIP |

All products are scaled by 1 / sqrt(d).
"""

from typing import Any, get_args

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float
from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from phreg.errors import ModelError
from phreg.section import ReadOut

READ_OUTS: tuple[str, ...] = get_args(ReadOut)
NACLIP_STD = 5.0  # patches


def check_read_out(read_out: str, block: nn.Module) -> None:
    """Raises `ModelError` for an unknown read-out, or a last block that this one cannot be taken from."""
    if read_out not in READ_OUTS:
        raise ModelError(f"There is no read-out {read_out!r}", expected=f"one of {', '.join(READ_OUTS)}")
    plain = isinstance(block, Block) and isinstance(block.attn, Attention) and block.attn.gate is None
    if read_out != "standard" and not plain:
        raise ModelError(
            f"The read-out {read_out!r} needs a plain last block",
            expected="timm's Block with its ungated Attention",
            found=type(block).__name__,
            remedy="use read_out: standard for this model",
        )


def run_last_block(
    block: Any, x: Float[Tensor, "B N D"], read_out: str, grid: tuple[int, int]
) -> Float[Tensor, "B N D"]:
    """The last block under a read-out; `grid` (h, w) tells which of the tokens are patches, the last h w."""
    if read_out == "standard":
        out: Tensor = block(x)
        return out
    branch = block.ls1(_attend(block.attn, block.norm1(x), read_out, grid))
    if read_out != "csa":
        return branch
    x = x + branch
    return x + block.ls2(block.mlp(block.norm2(x)))


def _attend(
    attn: Attention, x: Float[Tensor, "B N D"], read_out: str, grid: tuple[int, int]
) -> Float[Tensor, "B N D"]:
    batch, tokens, _ = x.shape
    qkv = attn.qkv(x).reshape(batch, tokens, 3, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.unbind(0)
    q, k = attn.q_norm(q), attn.k_norm(k)
    if read_out == "value":
        out = v
    elif read_out == "naclip":
        bias = neighbour_bias(grid, tokens - grid[0] * grid[1]).to(k)
        out = F.scaled_dot_product_attention(k, k, v, attn_mask=bias)
    elif read_out == "csa":
        out = F.scaled_dot_product_attention(q, q, v) + F.scaled_dot_product_attention(k, k, v)
    else:
        out = F.scaled_dot_product_attention(q, q, v)
    out = attn.norm(out.transpose(1, 2).reshape(batch, tokens, attn.attn_dim))
    projected: Tensor = attn.proj(out)
    return projected


def neighbour_bias(grid: tuple[int, int], prefix: int, std: float = NACLIP_STD) -> Float[Tensor, "N N"]:
    """NACLIP's bias: exp(-|p_i - p_j|^2 / (2 std^2)) between patches, zero for prefix tokens."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack([rows, columns], -1).reshape(-1, 2).float()
    squared = (places[:, None] - places[None]).square().sum(-1)
    return F.pad(torch.exp(-squared / (2 * std**2)), (prefix, 0, prefix, 0))
