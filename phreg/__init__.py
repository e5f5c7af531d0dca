"""phreg: clean the dense features of a pretrained ViT with self-distilled registers (arXiv 2505.21501)."""

from phreg import _torchvision

_torchvision.make_importable()  # before anything imports timm

from phreg.cache import open_cache  # noqa: E402
from phreg.denoise import denoise  # noqa: E402
from phreg.distill.loss import DistillationLoss, distillation_loss  # noqa: E402
from phreg.errors import PhregError  # noqa: E402
from phreg.models import Backbone, Student, add_registers, load_backbone, load_student  # noqa: E402
from phreg.views import Views, sample_views  # noqa: E402

__all__ = [
    "Backbone",
    "DistillationLoss",
    "PhregError",
    "Student",
    "Views",
    "add_registers",
    "denoise",
    "distillation_loss",
    "load_backbone",
    "load_student",
    "open_cache",
    "sample_views",
]
