"""`Backbone`: a timm ViT as a map from normalised images to dense features.

Shapes: B batch, H W pixels, h w patches, P = h w, D width of the network, C width of the features
(D, or the width of CLIP's projection).
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from phreg.device import device_here
from phreg.errors import ModelError
from phreg.fingerprint import digest_weights
from phreg.models.architecture import base_architecture, vit_arguments
from phreg.models.connector import Connector
from phreg.models.families import family_of
from phreg.models.position import check_resize, resample_grid
from phreg.models.precision import keep_float32
from phreg.models.read_outs import check_read_out, run_last_block
from phreg.progress import tell

Watch = Callable[[Float[Tensor, "B P D"]], None]
Own = TypeVar("Own", bound="Backbone")


class Backbone(nn.Module):
    """Maps normalised images [B, 3, H, W] to dense features [B, C, H/p, W/p].

    Features are those of the last block under `read_out`, after the final norm (and CLIP's projection),
    prefix tokens dropped. Any H and W that the patch divides will do: absolute positional embeddings are
    resampled as `pos_embed_resize` says when the grid is not the network's own; rotary ones are those of
    the grid.

    Attributes: `vit` the timm model, `family` its adapter; `mean`, `std` [3] of the normalisation;
    `patch_size` in pixels; `image_size` (H, W) and `grid_size` (h, w) the network's own; `out_dim` C;
    `read_out`; `pos_embed_resize` (see `position.py`); `connector`, which a student of targets of another
    network has.
    """

    mean: Tensor
    std: Tensor
    connector: Connector | None

    def __init__(
        self,
        vit: Any,
        read_out: str,
        mean: Sequence[float] | npt.NDArray[Any] | Tensor,
        std: Sequence[float] | npt.NDArray[Any] | Tensor,
        source_digest: str | None = None,
        pos_embed_resize: str = "paper",
    ) -> None:
        super().__init__()
        self.family = family_of(vit)
        self.family.check(vit)
        check_read_out(read_out, self.family, vit.blocks[-1])
        check_resize(pos_embed_resize)
        self.vit = vit
        self.pos_embed_resize = pos_embed_resize
        self.read_out = read_out
        self.projects = isinstance(vit.head, nn.Linear)  # classifiers were taken off: see `head.py`
        self.patch_size = square_patch(vit)
        head: Any = vit.head
        self.out_dim = int(head.out_features if self.projects else vit.embed_dim)
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, _channels(name, values), persistent=False)
        self._source_digest = source_digest
        self.connector = None

    def on(self: Own, device: torch.device | str) -> Own:
        """Itself, moved to where it computes from now on; float32 is kept exact there.

        Raises `ConfigError` for a GPU that torch cannot use here.
        """
        if torch.device(device).type == "cuda":
            device_here("cuda")
        keep_float32(device)
        return self.to(device)

    @property
    def image_size(self) -> tuple[int, int]:
        height, width = self.vit.patch_embed.img_size
        return int(height), int(width)

    @property
    def grid_size(self) -> tuple[int, int]:
        height, width = self.vit.patch_embed.grid_size
        return int(height), int(width)

    def grid_of(self, images: Tensor) -> tuple[int, int]:
        """Patches (h, w) of images [..., H, W]. Raises `ModelError` if the patch does not fit."""
        check_divides(images.shape[-2:], self.patch_size)
        return images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size

    @property
    def architecture(self) -> dict[str, object]:
        """The network as plain data: timm's constructor arguments, and what they leave open."""
        block: Any = self.vit.blocks[0]
        norm = next((module for module in block.modules() if hasattr(module, "eps")), None)
        told = vit_arguments(self.vit)
        parts = (block, getattr(block, "attn", None), getattr(block, "mlp", None))
        named = {} if "num_heads" in told else {"architecture": base_architecture(self.vit)}
        return (
            told
            | named
            | {
                "norm": f"{type(norm).__name__} {getattr(norm, 'eps', None)}",
                "block": " ".join(type(part).__name__ for part in parts if part is not None),
            }
        )

    def weights_digest(self) -> str:
        """SHA-256 of the weights: as loaded (before any resampling to a size), or as they are now."""
        tell("hashing the weights")
        return self._source_digest or digest_weights(self.vit.state_dict())

    def normalize(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 y x"]:
        """8-bit RGB crops as the network wants them. With a connector they may be of any size: they are then
        made smaller to one that the patch divides."""
        images = crops.to(self.mean.device).permute(0, 3, 1, 2).float() / 255
        images = (images - self.mean[:, None, None]) / self.std[:, None, None]
        size = [self.side_for(side) for side in images.shape[-2:]]
        return (
            images
            if size == list(images.shape[-2:])
            else F.interpolate(images, size, mode="bicubic", antialias=True)
        )

    def side_for(self, side: int) -> int:
        """Of a crop's side in pixels, how many the network sees."""
        return side if self.connector is None else fitting_side(side, self.patch_size)

    @property
    def target_shape(self) -> tuple[int, int, int]:
        """Grid (h, w) and channels of the targets that it can be held against."""
        return (*self.grid_size, self.out_dim) if self.connector is None else self.connector.target_shape

    def as_targets(self, features: Float[Tensor, "B C y x"]) -> Float[Tensor, "B T h w"]:
        """Its features in the space and on the grid of targets: through the connector, where there is one."""
        out: Tensor = features if self.connector is None else self.connector(features)
        return out

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        tokens = self.embed(images)
        features: Tensor = self.features(tokens).transpose(1, 2).unflatten(2, tokens.shape[1:3])
        return features

    def embed(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w D"]:
        """Patch tokens before the positional embedding. Raises `ModelError` if the patch does not fit."""
        grid, patch = self.grid_of(images), self.patch_size
        patch_embed: Any = self.vit.patch_embed
        # As a matrix product: GPUs round what goes into a convolution to TF32 unless told otherwise.
        pixels = images.unflatten(3, (grid[1], patch)).unflatten(2, (grid[0], patch))
        pixels = pixels.permute(0, 2, 4, 1, 3, 5).flatten(3)
        kernel = patch_embed.proj.weight.flatten(1)
        out: Tensor = patch_embed.norm(F.linear(pixels, kernel, patch_embed.proj.bias))
        return out

    def features(
        self, tokens: Float[Tensor, "B h w D"], watch: Watch | None = None
    ) -> Float[Tensor, "B P C"]:
        """Dense features of patch tokens as `embed` gives them, row-major.

        `watch` is shown the patch tokens [B, P, D] as each block leaves them, before the final norm; the last
        block is the one under `read_out`.
        """
        grid = (tokens.shape[1], tokens.shape[2])
        last_rope = self.family.ropes(self.vit, grid)[-1]
        x = self.before_last(tokens, watch)
        x = run_last_block(self.family, self.vit.blocks[-1], x, last_rope, self.read_out, grid)
        x = x[:, self.vit.num_prefix_tokens :]
        if watch is not None:
            watch(x)
        return self._finished(x)

    @property
    def has_class_token(self) -> bool:
        return self.vit.cls_token is not None

    def class_tokens(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """What classifiers and CLIP's retrieval use, of networks that have it: through the last block as the
        model has it, whatever the read-out, then the final norm (and CLIP's projection)."""
        tokens = self.embed(images)
        last_rope = self.family.ropes(self.vit, self.grid_of(images))[-1]
        x = self.family.run_block(self.vit.blocks[-1], self.before_last(tokens), last_rope)
        return self._finished(x[:, 0])

    def _finished(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch C"]:
        x = self.vit.fc_norm(self.vit.norm(x))  # one of the two is an identity
        return self.vit.head(x) if self.projects else x

    def before_last(
        self, tokens: Float[Tensor, "B h w D"], watch: Watch | None = None
    ) -> Float[Tensor, "B N D"]:
        """What the last block is given: prefix tokens, then patches."""
        vit, family = self.vit, self.family
        x: Tensor = vit.norm_pre(self._sequence(tokens))
        ropes = family.ropes(vit, (tokens.shape[1], tokens.shape[2]))
        for block, rope in zip(vit.blocks[:-1], ropes[:-1], strict=True):
            x = family.run_block(block, x, rope)
            if watch is not None:
                watch(x[:, vit.num_prefix_tokens :])
        return x

    def _sequence(self, tokens: Float[Tensor, "B h w D"]) -> Float[Tensor, "B N D"]:
        """Prefix tokens (class token, registers), then patches, positional embedding added."""
        vit, (h, w) = self.vit, tokens.shape[1:3]
        patches = tokens.flatten(1, 2)
        prefix = [t.expand(tokens.shape[0], -1, -1) for t in (vit.cls_token, vit.reg_token) if t is not None]
        if vit.pos_embed is None:
            return torch.cat([*prefix, patches], 1)
        embedded_prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
        for_prefix, for_grid = vit.pos_embed[:, :embedded_prefix], vit.pos_embed[:, embedded_prefix:]
        patches = patches + resample_grid(for_grid, self.grid_size, (h, w), self.pos_embed_resize)
        if not prefix:
            return patches
        before = torch.cat(prefix, 1)
        return torch.cat([before + for_prefix if embedded_prefix else before, patches], 1)


def _channels(name: str, values: Sequence[float] | npt.NDArray[Any] | Tensor) -> Tensor:
    """Three numbers as a tensor of their own. Raises `ModelError`."""
    tensor = torch.as_tensor(values, dtype=torch.float32).detach().cpu().clone()
    if tensor.shape != (3,) or not torch.isfinite(tensor).all() or (name == "std" and (tensor <= 0).any()):
        raise ModelError(
            f"The normalisation's {name} cannot be used",
            expected="three finite numbers" + (", above 0" if name == "std" else ""),
            found=str(tensor.tolist()),
        )
    return tensor


def fitting_side(side: int, patch: int) -> int:
    """The most pixels of a side that a patch divides. Raises `ModelError` for less than a patch."""
    if side < patch:
        check_divides((side, side), patch)
    return side // patch * patch


def square_patch(vit: Any) -> int:
    height, width = vit.patch_embed.patch_size
    if height != width:
        raise ModelError("The model's patches are not square", "square patches", f"{height} x {width}")
    return int(height)


def check_divides(size: Sequence[int], patch: int) -> None:
    if any(side < patch or side % patch for side in size):
        low = max(patch, min(size) // patch * patch)
        raise ModelError(
            f"An input of {size[0]} x {size[1]} pixels cannot be cut into patches of {patch}",
            expected=f"sides that are multiples of {patch}",
            remedy=f"use for instance {low} or {low + patch}",
        )
