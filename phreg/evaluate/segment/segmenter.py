"""`Segmenter`: images to label maps, with a backbone and the embeddings of class names."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own idiom)
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from phreg.config.labels import SegmentationConfig
from phreg.errors import ConfigError, ModelError
from phreg.evaluate.segment.features import patch_cosines
from phreg.evaluate.segment.geometry import Size, check_windows, input_size, origins
from phreg.evaluate.segment.labels import bands, class_labels, class_probabilities, rows_at
from phreg.evaluate.segment.pamr import pamr
from phreg.evaluate.segment.windows import assemble, cut
from phreg.method.denoising import Denoising
from phreg.models import Backbone

MAX_CLASSES = 255  # label maps are 8-bit, 255 is for pixels that do not count


class Segmenter:
    """Open-vocabulary segmentation of 8-bit RGB images, frozen, without training.

    Each pixel's class is that of the name with the largest cosine to its feature. Cosines are computed at
    patches, brought to the input's pixels (bilinear), averaged over overlapping windows, brought to the
    wanted size (bilinear), refined by PAMR if asked, scaled, and compared.

    Args:
        backbone: features in the space of the embeddings (a CLIP tower with its projection, or a student).
        embeddings, owner: of `class_embeddings`.
        classes: how many there are.
        settings: sizes, windows, logit scale, background threshold, PAMR.
        background: index of the set's background class; without one the threshold does nothing. With a
            threshold it needs no name.
        denoising: how features of each window are cleaned (the denoised teacher); default: one pass.
        device: where to compute; the backbone is moved there. Default: where it is.

    Raises `ModelError` or `ConfigError` for parts that do not fit together.
    """

    def __init__(
        self,
        backbone: Backbone,
        embeddings: Float[Tensor, "names C"],
        owner: Int[Tensor, " names"],
        classes: int,
        settings: SegmentationConfig | None = None,
        background: int | None = None,
        denoising: Denoising | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.settings = settings or SegmentationConfig()
        if background is not None and not 0 <= background < classes:
            raise ConfigError("The background is no class", f"an index below {classes}", str(background))
        nameless = background if self.settings.background_threshold is not None else None
        _check_fits(backbone, embeddings, owner, classes, nameless)
        check_windows(self.settings, backbone.patch_size)
        self.backbone = backbone.on(backbone.mean.device if device is None else device)
        self.device = self.backbone.mean.device
        self.embeddings = F.normalize(embeddings.float(), dim=-1).to(self.device)
        self.owner = owner.to(self.device)
        self.classes, self.background, self.denoising = classes, background, denoising

    def predict(
        self, image: UInt8[np.ndarray, "H W 3"], size: Size | None = None
    ) -> UInt8[np.ndarray, "h w"]:
        """The label map of one image, at its own size or at `size` (height, width)."""
        return self.predict_batch(image[None], size)[0]

    @torch.no_grad()
    def predict_batch(
        self, images: UInt8[np.ndarray, "B H W 3"], size: Size | None = None
    ) -> UInt8[np.ndarray, "B h w"]:
        """Label maps of images of one size. Raises `SampleError` for a shape that cannot be segmented."""
        out = size or (images.shape[1], images.shape[2])
        found = [
            self._labels(maps, image, out) for maps, image in zip(self._maps(images), images, strict=True)
        ]
        return torch.stack(found).cpu().numpy()

    @torch.no_grad()
    def probabilities(
        self, image: UInt8[np.ndarray, "H W 3"], size: Size | None = None
    ) -> Float[np.ndarray, "K h w"]:
        """Of each class, the probability of its likeliest name at each pixel, all in memory at once."""
        out = size or (image.shape[0], image.shape[1])
        cosines = self._refined(next(self._maps(image[None])), image, out)
        scale = self.settings.logit_scale
        return class_probabilities(cosines, self.owner, self.classes, scale).cpu().numpy()

    def _maps(self, images: UInt8[np.ndarray, "B H W 3"]) -> Iterator[Float[Tensor, "names y x"]]:
        """Cosines at the pixels of the input, one image after the other."""
        inputs = self._inputs(images)
        height, width = inputs.shape[-2:]
        side = self.settings.window or max(height, width)
        window = (min(side, height), min(side, width))
        stride = self.settings.stride or max(side // 2, 1)
        places = list(product(origins(height, window[0], stride), origins(width, window[1], stride)))
        coarse = patch_cosines(self.backbone, cut(inputs, places, window), self.embeddings, self.denoising)
        of_image = coarse.unflatten(0, (len(images), len(places)))
        yield from (assemble(maps, places, window, (height, width)) for maps in of_image)

    def _inputs(self, images: UInt8[np.ndarray, "B H W 3"]) -> Float[Tensor, "B 3 y x"]:
        own = (images.shape[1], images.shape[2])
        wanted = self.settings.short_side or min(self.backbone.image_size)
        size = input_size(own, wanted, self.backbone.patch_size)
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        return self.backbone.normalize(resized(pixels, size))

    def _labels(self, maps: Tensor, image: UInt8[np.ndarray, "H W 3"], size: Size) -> UInt8[Tensor, "h w"]:
        if self.settings.pamr_steps:
            return self._compare(self._refined(maps, image, size))
        parts = [self._compare(rows_at(maps, size, *rows)) for rows in bands(len(maps), size)]
        return torch.cat(parts)

    def _compare(self, cosines: Float[Tensor, "names h w"]) -> UInt8[Tensor, "h w"]:
        settings = self.settings
        return class_labels(
            cosines, self.owner, settings.logit_scale, settings.background_threshold, self.background
        )

    def _refined(
        self, maps: Tensor, image: UInt8[np.ndarray, "H W 3"], size: Size
    ) -> Float[Tensor, "names h w"]:
        maps = rows_at(maps, size, 0, size[0])
        if not self.settings.pamr_steps:
            return maps
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)[None]
        guide = resized(pixels, size)[0].permute(2, 0, 1).float() / 255
        return pamr(maps, guide, self.settings.pamr_steps)


def resized(images: UInt8[Tensor, "B H W 3"], size: Size) -> UInt8[Tensor, "B h w 3"]:
    """Bicubic with antialiasing, as crops are cut elsewhere."""
    if tuple(images.shape[1:3]) == size:
        return images
    image = images.permute(0, 3, 1, 2).float()
    fine = F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)
    return fine.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _check_fits(
    backbone: Backbone, embeddings: Tensor, owner: Tensor, classes: int, nameless: int | None
) -> None:
    if embeddings.shape[1] != backbone.target_shape[2]:
        raise ModelError(
            "Features and text embeddings are not of one CLIP",
            expected=f"embeddings of width {backbone.target_shape[2]}, as the features are",
            found=str(embeddings.shape[1]),
            remedy="take the text tower that belongs to the backbone (or to its teacher)",
        )
    without = set(range(classes)) - set(owner.tolist())
    if (
        not 1 <= classes <= MAX_CLASSES
        or without - {nameless}
        or not set(owner.tolist()) <= set(range(classes))
    ):
        raise ConfigError(
            "Names and classes do not fit together",
            expected=f"1 to {MAX_CLASSES} classes, each with a name",
            found=f"{classes} classes, names for {sorted(set(owner.tolist()))[:10]}",
        )
