"""Networks with outliers, or positions, of our own making."""

import torch
from torch import Tensor

from phreg.models import Backbone


def images(n: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def placed(backbone: Backbone) -> Backbone:
    """The same backbone, whose positions are ramps along two channels, so that features tell them."""
    vit, (h, w) = backbone.vit, backbone.grid_size
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    with torch.no_grad():
        patches = vit.pos_embed[0, vit.num_prefix_tokens :]
        patches[:, 3] += 4 * rows.flatten()
        patches[:, 5] += 4 * columns.flatten()
    return backbone


def loud(backbone: Backbone) -> Backbone:
    """The same backbone: few patches wake its first block's first hidden unit, which is loud then."""
    mlp = backbone.vit.blocks[0].mlp
    with torch.no_grad():
        mlp.fc1.weight[0] *= 6
        mlp.fc1.bias[0] = -4.0
        mlp.fc2.weight[:, 0] *= 200
    return backbone
