"""The frozen teacher at work: crops in, denoised targets out.

Shapes: B crops, P patches, C channels.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from phreg.cache import TargetSpec
from phreg.generate.crops import Crop
from phreg.method.denoising import denoise
from phreg.method.views import stack_views
from phreg.models import Backbone
from phreg.progress import tell


def compute_targets(teacher: Backbone, spec: TargetSpec, crops: Sequence[Crop]) -> Float32[Tensor, "B P C"]:
    """Denoised features of crops, where the teacher is: on GPU in one forward pass, on CPU in one each.

    Tells how far it is after each. Raises `NonFiniteError`, without saying which crop it was.
    """
    if not crops:
        return torch.empty(0, spec.patches, spec.dim)
    device = teacher.mean.device
    pixels = torch.from_numpy(np.stack([crop.pixels for crop in crops])).to(device)
    views = stack_views([crop.views for crop in crops])
    with torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bfloat16"):
        images, told = teacher.normalize(pixels), partial(tell, "computing")
        features = denoise(teacher, images, views, on_progress=told, method=spec.denoised_by)
    return features.flatten(2).transpose(1, 2)
