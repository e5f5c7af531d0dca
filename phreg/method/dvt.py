"""`dvt`: Denoising Vision Transformers (arXiv 2401.02957), its first stage: one image is taken apart.

A patch's feature in a view is taken to be the sum of three: what is there in the image, a small neural field
of its coordinates in the crop; an artifact of its place in the view, one table for all views; and a residual
that depends on both. All are fitted to the views by Adam: field and artifact in the first half of the steps,
field and residual in the second. The target is the field on the crop's grid.

Two of the paper's means are simpler here: views are the shifts and mirrors of every denoiser (the paper cuts
and resizes crops), and the field reads sines of coordinates, not a hash grid. What is alike at all places may
be content or artifact: it is taken as content.

Shapes: n views, P = h w patches, C width of the features, T seen patches of all views.
"""

import math
from collections.abc import Iterator
from itertools import count, islice, pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float, Int
from torch import Tensor, nn

from phreg.config.denoisers import DvtConfig
from phreg.errors import ConfigError, NonFiniteError
from phreg.method.denoiser import Denoiser
from phreg.method.view_features import placement_indices, view_features
from phreg.method.views import Views, sample_views
from phreg.models import Backbone
from phreg.seeding import Draws, derive_seed

VIEWS_PER_FORWARD = 16
TOKENS_PER_STEP = 2048
WAVES, HIDDEN = 64, 256
SHORTEST_WAVE = 4  # in patches
EPSILON = 0.05
"""Adam's, over the width. Steps along small gradients are then small: with Adam's own 1e-8, an error of 1e-6
in the input grows to 2e-2 of a target; with this one, to 1e-4."""
RESIDUAL_WEIGHT, SPARSITY_WEIGHT = 0.1, 0.02  # the paper's


class Seen(NamedTuple):
    """The features of one image's views, each with its patch of the crop and its place in the view."""

    features: Float[Tensor, "T C"]
    patches: Int[Tensor, " T"]
    places: Int[Tensor, " T"]


class Dvt(Denoiser[DvtConfig]):
    """One field an image, whose seed is made of its views."""

    def check(self, backbone: Backbone) -> None:
        check_shifted(sample_views(backbone.grid_size, self.config.view_count, self.config.view_shift))

    def features(
        self, backbone: Backbone, images: Float[Tensor, "B 3 H W"], views: Views
    ) -> Float[Tensor, "B P C"]:
        views, grid = views.for_batch(len(images)), backbone.grid_of(images)
        found = []
        for i in range(len(images)):
            own = views[i : i + 1]
            check_shifted(own)
            seen = seen_in(backbone, images[i : i + 1], own)
            seed = derive_seed(0, "dvt", own.offsets.tobytes().hex(), own.flips.tobytes().hex())
            full = torch.autocast(images.device.type, enabled=False)
            with torch.inference_mode(False), torch.enable_grad(), full:
                found.append(fitted(seen, grid, self.config, seed))
        return torch.stack(found)

    def fitting_flops(self, channels: int, patches: int) -> float:
        """A backward pass is taken as two forward ones."""
        field = patches * (2 * WAVES * HIDDEN + HIDDEN * HIDDEN + HIDDEN * channels)
        residual = TOKENS_PER_STEP * 2 * HIDDEN * channels
        return self.config.steps * 3 * 2 * (field + residual / 2)


def check_shifted(views: Views) -> None:
    """Raise `ConfigError` if all views are alike but for a mirror."""
    if (views.offsets == views.offsets[..., :1, :]).all():
        raise ConfigError(
            "dvt cannot tell content from artifacts: every place shows one part of the image in all views",
            expected="views that are shifted by whole patches",
            remedy="take more views, a larger max_shift or larger images",
        )


def seen_in(backbone: Backbone, image: Float[Tensor, "1 3 H W"], views: Views) -> Seen:
    """Of one image; a few views in each forward pass."""
    parts = []
    for start in range(0, len(views), VIEWS_PER_FORWARD):
        some = slice(start, start + VIEWS_PER_FORWARD)
        chunk = Views(views.offsets[:, some], views.flips[:, some])
        features, seen = view_features(backbone, image, chunk)
        place = torch.from_numpy(placement_indices(chunk, backbone.grid_of(image))).to(seen.device)
        patches = torch.arange(seen.shape[-1], device=seen.device).expand_as(seen)
        parts.append(Seen(features[seen], patches[seen], place[seen]))
    return Seen(*(torch.cat(part) for part in zip(*parts, strict=True)))


def fitted(seen: Seen, grid: tuple[int, int], config: DvtConfig, seed: int) -> Float[Tensor, "P C"]:
    """The field on the grid. Raises `NonFiniteError` if the fit comes to nothing."""
    features = seen.features.clone()  # those of inference mode may have no part in a backward pass
    scale = features.square().mean().sqrt().clamp(min=1e-12)
    seen = seen._replace(features=features / scale)
    parts, channels = _Parts(seen, grid, seed), features.shape[1]
    adam = torch.optim.Adam(parts.parameters(), config.learning_rate, eps=EPSILON / channels)
    for step, chosen in enumerate(islice(_batches(len(features), seed), config.steps)):
        done = step / config.steps
        adam.param_groups[0]["lr"] = config.learning_rate * (0.55 + 0.45 * math.cos(math.pi * done))
        some = Seen(*(part[chosen.to(part.device)] for part in seen))
        adam.zero_grad()
        parts.loss(some, late=done >= 0.5).backward()
        adam.step()
    clean: Tensor = parts.clean().detach() * scale
    if not torch.isfinite(clean).all():
        raise NonFiniteError(
            "NaN or Inf in what dvt fitted", expected="finite values", remedy="take a smaller learning_rate"
        )
    return clean


class _Parts(nn.Module):
    """What features are taken to be the sum of."""

    waves: Tensor
    mean: Tensor

    def __init__(self, seen: Seen, grid: tuple[int, int], seed: int) -> None:
        super().__init__()
        channels, device = seen.features.shape[1], seen.features.device
        self.register_buffer("waves", _waves(grid, seed).to(device))
        self.register_buffer("mean", seen.features.mean(0))
        self.field = _network(seed, "field", 2 * WAVES, HIDDEN, HIDDEN, channels).to(device)
        self.residual = _network(seed, "residual", channels, HIDDEN, channels).to(device)
        self.artifact = nn.Parameter(torch.zeros(grid[0] * grid[1], channels, device=device))

    def clean(self) -> Float[Tensor, "P C"]:
        out: Tensor = self.mean + self.field(self.waves)
        return out

    def loss(self, seen: Seen, late: bool) -> Float[Tensor, ""]:
        """`late`: the artifact stays as it is, and the residual learns what is left, without a say in the
        field's loss but as a known part of the sum."""
        shared = (self.artifact - self.artifact.mean(0))[seen.places]
        told = self.clean()[seen.patches] + (shared.detach() if late else shared)
        if not late:
            return _distance(told, seen.features)
        left: Tensor = self.residual(seen.features)
        own = RESIDUAL_WEIGHT * F.mse_loss(left, (seen.features - told).detach())
        own = own + SPARSITY_WEIGHT * left.abs().mean()
        out: Tensor = own + _distance(told + left.detach(), seen.features)
        return out


def _distance(told: Float[Tensor, "T C"], features: Float[Tensor, "T C"]) -> Float[Tensor, ""]:
    out: Tensor = F.mse_loss(told, features) + 1 - F.cosine_similarity(told, features, dim=-1).mean()
    return out


def _waves(grid: tuple[int, int], seed: int) -> Float[Tensor, "P _"]:
    """The field's input at each patch: sine and cosine of waves of any direction."""
    places = torch.cartesian_prod(*(torch.arange(side).double() for side in grid)).reshape(-1, 2)
    draws = torch.from_numpy(2 * Draws(seed, "waves").uniform(2 * WAVES) - 1).reshape(2, WAVES)
    phases = 2 * torch.pi / SHORTEST_WAVE * places @ draws
    return torch.cat([phases.sin(), phases.cos()], 1).float()


def _network(seed: int, name: str, *widths: int) -> nn.Sequential:
    """Linear maps with GELU between, drawn by our own seed; the last starts at 0."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        layer = nn.utils.skip_init(nn.Linear, before, after)  # global random numbers stay as they are
        last = i == len(widths) - 2
        with torch.no_grad():
            drawn = torch.from_numpy(Draws(seed, name, i).centred(after, before)).float()
            layer.weight.copy_(drawn * (0 if last else before**-0.5))
            layer.bias.zero_()
        layers += [layer] if last else [layer, nn.GELU()]
    return nn.Sequential(*layers)


def _batches(tokens: int, seed: int) -> Iterator[Int[Tensor, " _"]]:
    """All tokens in random order, again and again."""
    for epoch in count():
        order = torch.from_numpy(Draws(seed, "order", epoch).permutation(tokens))
        yield from order.split(TOKENS_PER_STEP)
