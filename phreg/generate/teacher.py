"""The frozen teacher at work: crops in, denoised targets out.

Shapes: B crops, P patches, C channels.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from phreg.cache import TargetSpec
from phreg.generate.crops import Crop
from phreg.method.denoising import denoise, denoise_with_variance
from phreg.method.views import stack_views
from phreg.models import Backbone
from phreg.progress import tell


class Targets(NamedTuple):
    """Features of crops, and where the spec wants it the variance of their tokens."""

    features: Float32[Tensor, "B P C"]
    variance: Float32[Tensor, "B P"] | None = None


def compute_targets(teacher: Backbone, spec: TargetSpec, crops: Sequence[Crop]) -> Targets:
    """Denoised features of crops, where the teacher is: on GPU in one forward pass, on CPU in one each.

    Tells how far it is after each. Raises `NonFiniteError`, without saying which crop it was.
    """
    if not crops:
        empty = torch.empty(0, spec.patches, spec.dim)
        return Targets(empty, empty[..., 0] if spec.variance else None)
    device = teacher.mean.device
    pixels = torch.from_numpy(np.stack([crop.pixels for crop in crops])).to(device)
    views = stack_views([crop.views for crop in crops])
    with torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bfloat16"):
        given = teacher, teacher.normalize(pixels), views
        how: dict[str, Any] = {"on_progress": partial(tell, "computing"), "method": spec.denoised_by}
        if not spec.variance:
            return Targets(_tokens(denoise(*given, **how)))
        features, variance = denoise_with_variance(*given, **how)
    return Targets(_tokens(features), variance.flatten(1))


def _tokens(features: Float32[Tensor, "B C h w"]) -> Float32[Tensor, "B P C"]:
    return features.flatten(2).transpose(1, 2)
