"""Several read-outs of one network, or several last blocks on it, for little more than one of them.

Shapes: n inputs, h w patches, N tokens (prefix tokens, then patches), D width, C width of the features.
"""

import copy
import hashlib
from collections import OrderedDict

import torch
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from phreg.models import Backbone
from phreg.models.backbone import Watch

MEMORY = 3 << 30  # bytes of tokens kept


class Trunk:
    """Tokens before the last block, kept for the inputs that were seen last. Nothing here learns."""

    def __init__(self, backbone: Backbone, precision: str = "float32") -> None:
        self.backbone, self.precision = backbone, precision
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0

    def __deepcopy__(self, memo: object) -> "Trunk":
        """Copies of what stands on it stand on it too."""
        return self

    def read(self, read_out: str, vit: VisionTransformer | None = None) -> "SharedBackbone":
        """The network under a read-out; or `vit`, which may differ from it in the last block."""
        return SharedBackbone(self, read_out, vit or self.backbone.vit)

    def student(self, read_out: str) -> "SharedBackbone":
        """A copy whose last block learns, and nothing else."""
        vit = copy.deepcopy(self.backbone.vit).requires_grad_(False)
        vit.blocks[-1].requires_grad_(True)
        return self.read(read_out, vit)

    @torch.no_grad()
    def tokens(self, embedded: Float[Tensor, "n h w D"]) -> Float[Tensor, "n N D"]:
        """What comes out of all blocks but the last."""
        keys = [_key(one) for one in embedded]
        new = [index for index, key in enumerate(keys) if key not in self._kept]
        fresh = dict(zip((keys[i] for i in new), self._compute(embedded[new]), strict=True)) if new else {}
        out = torch.stack([fresh[key] if key in fresh else self._kept[key] for key in keys])
        for key, tokens in fresh.items():
            self._keep(key, tokens.clone())
        return out

    def _compute(self, embedded: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            return self.backbone.before_last(embedded).float()

    def _keep(self, key: str, tokens: Tensor) -> None:
        self._kept[key] = tokens
        self._bytes += tokens.nbytes
        while self._bytes > MEMORY:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


def _key(embedded: Float[Tensor, "h w D"]) -> str:
    return hashlib.blake2b(embedded.contiguous().numpy().tobytes()).hexdigest() + str(embedded.shape)


class SharedBackbone(Backbone):
    """A `Backbone` under one read-out, on a trunk that it shares with others."""

    def __init__(self, trunk: Trunk, read_out: str, vit: VisionTransformer) -> None:
        own = trunk.backbone
        super().__init__(vit, read_out, own.mean, own.std, own._source_digest, own.pos_embed_resize)
        self._trunk = (trunk,)  # in a tuple: no module of ours

    def before_last(
        self, tokens: Float[Tensor, "n h w D"], watch: Watch | None = None
    ) -> Float[Tensor, "n N D"]:
        """`watch` is shown what comes out alone, not what each block makes on the way."""
        with torch.no_grad():
            out = self._trunk[0].tokens(tokens.detach().float())
        if watch is not None:
            watch(out[:, self.vit.num_prefix_tokens :])
        return out
