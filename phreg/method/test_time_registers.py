"""`test_time_registers`: outliers are moved to a token beside the patches, without training.

Jiang, Dravid, Efros and Gandelsman, "Vision Transformers Don't Need Trained Registers" (arXiv 2506.08010): a
few hidden units of the MLPs ("register neurons") make the outliers of Darcet et al. (arXiv 2309.16588).

They are found on a handful of images: outliers are those among the patches that the last block is given; a
unit's score is its mean magnitude at them, averaged over the images that have any; the `keep` of the largest
scores are taken, from blocks up to the one after which the outliers first stand out. At use, one token of
zeros is added; of each unit the largest activation over the patches is moved to it, and patches have 0 there.

What the authors set by hand for each model is read from the images here: an outlier is one for its image
(`outliers.py`) where they give a norm, and the last block sought is the one after which they stand out.

Shapes: N images, P patches, U hidden units of an MLP.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from phreg.config.denoisers import TestTimeRegistersConfig
from phreg.errors import ConfigError
from phreg.method.network_change import NetworkChange
from phreg.method.outliers import FACTOR, outliers
from phreg.models import Backbone
from phreg.models.sharing import sharing_copy
from phreg.models.student import append_registers

Hook = Callable[[Any, tuple[Tensor]], tuple[Tensor] | None]


class TestTimeRegisters(NetworkChange[TestTimeRegistersConfig]):
    """One token more, to which the register neurons' activations go."""

    __test__ = False  # to pytest

    def check(self, backbone: Backbone) -> None:
        layers = _hidden_layers(backbone)
        if not layers:
            raise ConfigError(
                "method: test_time_registers needs a network of several blocks",
                expected="outliers that the blocks before the last make",
                found="1 block",
            )
        for block, unit in self.config.neurons or ():
            if block >= len(layers) or unit >= layers[block].in_features:
                raise ConfigError(
                    f"There is no hidden unit {unit} in a block {block} before the last",
                    expected=f"blocks 0 to {len(layers) - 1} with {layers[0].in_features} hidden units",
                    remedy="leave out neurons: they are found on images",
                )
        last = self.config.last_block
        if last is not None and last >= len(layers):
            raise ConfigError(
                f"last_block is {last}", expected=f"0 to {len(layers) - 1}, a block before the last"
            )
        if not backbone.family.takes_registers:
            raise ConfigError(
                "test_time_registers needs a network to which a token can be added",
                found=f"timm's {backbone.family.kind.__name__}, which takes none",
                remedy="take another method, for instance views",
            )
        super().check(backbone)

    def found(self, backbone: Backbone, images: Float[Tensor, "N 3 H W"]) -> TestTimeRegistersConfig:
        scores, rise = _scores(backbone, images)
        last = self.config.last_block
        if last is None:
            last = next(block for block, ratio in enumerate(rise) if ratio > FACTOR)
        ranked = sorted(
            (-score, block, unit)
            for block, of_block in enumerate(scores[: last + 1])
            for unit, score in enumerate(of_block.tolist())
        )
        neurons = sorted((block, unit) for _, block, unit in ranked[: self.config.keep])
        return self.config.model_copy(update={"neurons": tuple(neurons)})

    def change(self, backbone: Backbone) -> Backbone:
        copy = sharing_copy(backbone)
        width = copy.vit.embed_dim
        append_registers(copy.family, copy.vit, torch.zeros(1, 1, width, device=copy.mean.device))
        units: dict[int, list[int]] = {}
        for block, unit in self.config.neurons or ():
            units.setdefault(block, []).append(unit)
        layers = _hidden_layers(copy)
        for block, of_block in units.items():
            layers[block].register_forward_pre_hook(_moving(of_block, copy.vit.num_prefix_tokens))
        return copy


def _moving(units: Sequence[int], prefix: int) -> Hook:
    """Patches stand behind `prefix` tokens, of which the last is the added one."""

    def move(_: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        hidden = inputs[0].clone()
        chosen = torch.as_tensor(units, device=hidden.device)
        hidden[:, prefix - 1, chosen] = hidden[:, prefix:, chosen].amax(1)
        hidden[:, prefix:, chosen] = 0
        return (hidden,)

    return move


def _scores(
    backbone: Backbone, images: Float[Tensor, "N 3 H W"]
) -> tuple[list[Float[Tensor, " U"]], list[float]]:
    """Of each block before the last: the scores of its hidden units, and how many times the median norm its
    patches have that will be outliers."""
    watched = sharing_copy(backbone)
    hidden: list[Tensor] = []
    for layer in _hidden_layers(watched):
        layer.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    scores: list[Tensor] = []
    rises: list[Tensor] = []
    largest = 0.0
    for image in images:
        hidden.clear()
        norms = patch_norms(watched, image[None])
        places = outliers(norms[-1])
        largest = max(largest, float(norms[-1].max() / norms[-1].median()))
        if places.any():
            prefix = watched.vit.num_prefix_tokens
            scores.append(torch.stack([layer[0, prefix:][places].abs().mean(0) for layer in hidden]))
            rises.append(torch.stack([norm[places].mean() / norm.median() for norm in norms]))
    if not scores:
        raise ConfigError(
            "This network shows no outliers that registers could take",
            expected=f"among the patches of {len(images)} images some with {FACTOR:g} times the median norm",
            found=f"{largest:.2f} times at most",
            remedy="take another method, for instance views",
        )
    return list(torch.stack(scores).mean(0).cpu()), torch.stack(rises).mean(0).tolist()


def patch_norms(backbone: Backbone, image: Float[Tensor, "1 3 H W"]) -> list[Float[Tensor, " P"]]:
    """Of the patches as each block before the last leaves them."""
    norms: list[Tensor] = []
    backbone.before_last(backbone.embed(image), lambda tokens: norms.append(tokens[0].norm(dim=-1)))
    return norms


def _hidden_layers(backbone: Backbone) -> list[Any]:
    """Of each block before the last, the linear map that reads its hidden units. Raises `ConfigError`."""
    layers = [backbone.family.hidden_layer(block) for block in backbone.vit.blocks[:-1]]
    if None in layers:
        block = backbone.vit.blocks[layers.index(None)]
        raise ConfigError(
            "method: test_time_registers needs an MLP with hidden units in each block",
            expected="blocks of attention, then an MLP of two linear maps",
            found=f"timm's {type(block).__name__}",
            remedy="take another method for this network, for instance views",
        )
    return layers
