"""Frozen features of resized images, made once and stored: one object a few images.

An object is named by the digest of everything that its features depend on (network, weights, read-out,
normalisation, size, denoising, and the resized pixels of its images in order), so it can never be stale, and
another root, name or labelling of the same images finds it again. It holds the features' own digest: one
that does not match is made again.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from phreg.fingerprint import digest_bytes, digest_json
from phreg.method.denoising import Denoising
from phreg.models import Backbone
from phreg.storage import Folder
from phreg.storage.checksummed import read_checksummed_tensors, to_checksummed_tensors

FORMAT_VERSION = 1  # raise it when the same images would have other features
IMAGES_PER_FORWARD = 16
"""Images per batch off the CPU; on CPU 1, so that features do not depend on their batch."""


class FeatureMaker:
    """Makes features with a frozen backbone, or finds those made before in `folder`.

    With `denoising`, features are cleaned so, as of a denoised teacher.
    `forward_passes` counts what the network was asked for, a view of an image being one.
    """

    def __init__(
        self,
        backbone: Backbone,
        folder: Folder | None = None,
        device: str = "cpu",
        denoising: Denoising | None = None,
    ) -> None:
        self.backbone = backbone.on(device)
        self.folder = folder
        self.device = torch.device(device)
        self.denoising = denoising
        self.forward_passes = 0
        self._model = _identity(backbone, denoising)

    def features(self, images: UInt8[np.ndarray, "N H W 3"]) -> Float16[Tensor, "N C h w"]:
        """Features on CPU. They may hold NaN or Inf: whoever uses them checks each image."""
        if self.folder is None:
            return self._make(images)
        pixels = digest_bytes(images.tobytes())
        name = digest_json({"model": self._model, "shape": list(images.shape), "pixels": pixels})
        path = f"{name}.safetensors"
        features = (read_checksummed_tensors(self.folder, path) or {}).get("features")
        if features is None or features.ndim != 4 or len(features) != len(images):
            features = self._make(images)
            self.folder.write(path, to_checksummed_tensors({"features": features}))
        return features

    def _make(self, images: UInt8[np.ndarray, "N H W 3"]) -> Float16[Tensor, "N C h w"]:
        step = 1 if self.device.type == "cpu" else IMAGES_PER_FORWARD
        parts = []
        for start in range(0, len(images), step):
            pixels = torch.from_numpy(images[start : start + step]).to(self.device)
            parts.append(self._forward(self.backbone.normalize(pixels)).half().cpu())
            self.forward_passes += len(pixels) * (
                1 if self.denoising is None else self.denoising.forward_passes
            )
        return torch.cat(parts)

    def _forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        if self.denoising is not None:
            return self.denoising.features(self.backbone, images)
        with torch.inference_mode():
            features: Tensor = self.backbone(images)
        return features


def _identity(backbone: Backbone, denoising: Denoising | None) -> dict[str, Any]:
    """Everything of the model that features depend on; where its weights lay is no part of it."""
    return {
        "format_version": FORMAT_VERSION,
        "architecture": backbone.architecture,
        "weights": backbone.weights_digest(),
        "image_size": list(backbone.image_size),  # its positional embedding was resampled to this
        "read_out": backbone.read_out,
        "mean": backbone.mean.tolist(),
        "std": backbone.std.tolist(),
        "denoising": denoising and denoising.as_data(),
    }
