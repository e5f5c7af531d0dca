"""LoRA (arXiv 2106.09685): linear maps learn a change of low rank, which is merged when they are saved."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phreg.errors import ModelError
from phreg.seeding import Draws

DEFAULT_RANK = 8
LEARNT = ("blocks.*.down", "blocks.*.up")
"""Of parameter names in a network that was given changes."""


class LowRankLinear(nn.Linear):
    """A map whose weight is a frozen one plus `up` [out, rank] times `down` [rank, in]: at first the same."""

    def __init__(self, linear: nn.Linear, rank: int, draws: Draws) -> None:
        nn.Module.__init__(self)  # nn.Linear's own would make a weight that is a parameter
        self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, linear.bias
        self.frozen = linear.weight
        down = draws.centred(rank, self.in_features) * self.in_features**-0.5
        self.down = nn.Parameter(torch.from_numpy(down).to(linear.weight))
        self.up = nn.Parameter(linear.weight.new_zeros(self.out_features, rank))

    @property
    def weight(self) -> Float[Tensor, "out in"]:  # type: ignore[override]  # computed
        return self.frozen + self.up @ self.down

    def merged(self) -> nn.Linear:
        """The plain map that it has become."""
        plain = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        plain.weight = nn.Parameter(self.weight.detach(), requires_grad=False)
        plain.bias = self.bias
        return plain


def rank_of(name: str) -> int | None:
    """Of `lora` or `lora:RANK`; None for another name. Raises `ModelError` for no rank."""
    word, colon, rank = name.partition(":")
    if word != "lora":
        return None
    if colon and not (rank.isdecimal() and int(rank) > 0):
        raise ModelError(f"Cannot tell the rank of {name!r}", "lora, or lora:RANK, for instance lora:16")
    return int(rank) if colon else DEFAULT_RANK


def add_low_rank(vit: Any, rank: int, seed: int) -> None:
    """Give every linear map of the blocks, in attention and MLP, a change of this rank to learn; once.

    Raises `ModelError` if that is no low rank.
    """
    maps = {name: part for name, part in vit.named_modules() if name.startswith("blocks.")}
    maps = {name: part for name, part in maps.items() if type(part) is nn.Linear}
    smallest = min((min(part.weight.shape) for part in maps.values()), default=rank + 1)
    if rank >= smallest:
        raise ModelError(
            f"A change of rank {rank} is not of low rank in this network",
            expected=f"a rank below {smallest}, the smallest side of its linear maps",
            remedy="unlock the blocks themselves, or give a smaller rank",
        )
    for name, linear in maps.items():
        vit.set_submodule(name, LowRankLinear(linear, rank, Draws(seed, "lora", name)))


def merged(vit: Any) -> Any:
    """The network with its changes added to the weights: a copy, or itself where there are none."""
    if not any(isinstance(part, LowRankLinear) for part in vit.modules()):
        return vit
    vit = copy.deepcopy(vit)
    for name, part in list(vit.named_modules()):
        if isinstance(part, LowRankLinear):
            vit.set_submodule(name, part.merged())
    return vit
