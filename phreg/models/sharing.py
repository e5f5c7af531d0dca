"""Copies of a network that share its weights: what is done to their modules leaves the network as it is."""

import copy
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def sharing_copy(network: Module) -> Module:
    """New modules over the same parameters and buffers: no memory to speak of."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
