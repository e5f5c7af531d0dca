"""`Family`: what a backbone asks of the networks of one timm class.

All families share timm's names for what is around the blocks: `patch_embed`, `cls_token`, `reg_token`,
`pos_embed`, `no_embed_class`, `num_prefix_tokens`, `norm_pre`, `blocks`, `norm`, `fc_norm`, `head`. They
differ in what a block is, in what it is told of positions, and in the arguments that build such a network.

Shapes: B batch, N tokens (prefix tokens, then the P = h w patches), D width, H heads, d head width.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from jaxtyping import Float
from timm.layers import PatchEmbed
from torch import Tensor, nn

from phreg.errors import ModelError

Rope = Tensor | None
"""Rotary embeddings of the patches, or biases of the attention, for one block; None in networks without."""
Heads = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values [B, H, N, d], normalised and rotated as the block's attention has them."""


class Family(ABC):
    """Stateless. `kind`: timm's class; `holds`: models of it that people know, for messages;
    `takes_registers`: whether tokens can be added to its networks."""

    kind: ClassVar[type[nn.Module]]
    holds: ClassVar[str]
    takes_registers: ClassVar[bool] = True

    def check(self, vit: Any) -> None:
        """Raise `ModelError` for a network with parts that `Backbone` does not know."""
        if type(vit.patch_embed) is not PatchEmbed:
            raise ModelError(
                "The model is no plain ViT",
                expected="patches that one linear map embeds",
                found=f"{type(vit).__name__} with {type(vit.patch_embed).__name__}, a stem of convolutions",
                remedy="take a plain ViT, of any size",
            )

    def ropes(self, vit: Any, grid: tuple[int, int]) -> Sequence[Rope]:
        """For each block, the rotary embeddings, or the biases, of a grid (h, w)."""
        return [None] * len(vit.blocks)

    @abstractmethod
    def run_block(self, block: Any, x: Float[Tensor, "B N D"], rope: Rope) -> Float[Tensor, "B N D"]:
        """A block as timm runs it."""

    @abstractmethod
    def is_plain(self, block: Any) -> bool:
        """Whether a block is x + attention(norm(x)), then x + mlp(norm(x)), with nothing between: only then
        other read-outs than `standard` can be taken from it, and the methods below be asked."""

    @abstractmethod
    def heads(self, attention: Any, x: Float[Tensor, "B N D"], rope: Rope) -> Heads:
        """What a plain block's attention makes of normalised tokens."""

    @abstractmethod
    def scaled(self, block: Any, branch: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """A plain block's LayerScale of its attention branch."""

    @abstractmethod
    def mlp(self, block: Any, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """What a plain block's MLP adds to x."""

    def hidden_layer(self, block: Any) -> nn.Linear | None:
        """The linear map that reads the hidden units of a block's MLP, if that has such."""
        layer = getattr(getattr(block, "mlp", None), "fc2", None)
        return layer if isinstance(layer, nn.Linear) else None

    @abstractmethod
    def arguments(self, vit: Any) -> dict[str, Any]:
        """Arguments with which timm builds the network from `base` (JSON), as far as its modules say them."""

    @abstractmethod
    def base(self, vit: Any) -> str | None:
        """A registered architecture that has all that the arguments do not say; None if there is none."""

    @abstractmethod
    def set_registers(self, vit: Any, number: int) -> None:
        """Tell the network and its blocks how many register tokens it has now."""

    @abstractmethod
    def cut(self, vit: Any, blocks: int) -> None:
        """Keep the first blocks alone."""

    @abstractmethod
    def renamed(self, vit: Any, state: Mapping[str, Any]) -> dict[str, Any]:
        """Weights in any naming that timm knows, in the network's own."""


class ScaledByGammas(Family):
    """LayerScale as parameters of the block, if it has any."""

    def scaled(self, block: Any, branch: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return branch if block.gamma_1 is None else block.gamma_1 * branch

    def mlp(self, block: Any, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        branch: Tensor = block.mlp(block.norm2(x))
        return branch if block.gamma_2 is None else block.gamma_2 * branch


def not_identity(module: nn.Module) -> bool:
    return not isinstance(module, nn.Identity)


def named_architecture(vit: Any) -> str:
    return str((getattr(vit, "pretrained_cfg", None) or {}).get("architecture") or "")


def ratio(hidden: int, width: int) -> float:
    """The factor that timm turns into just this many hidden channels: it cuts the product down."""
    factor = hidden / width
    return factor if int(width * factor) == hidden else (hidden + 0.5) / width
