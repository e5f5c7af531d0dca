"""phreg: clean the dense features of a pretrained ViT with self-distilled registers (arXiv 2505.21501).

Names are imported when they are first used: the command line wants none of torch, timm and open_clip to say
what is wrong with a config.
"""

import importlib
from typing import TYPE_CHECKING, Any

from phreg import _torchvision
from phreg.loopback import keep_off_proxies

if TYPE_CHECKING:
    from phreg.cache import open_cache
    from phreg.errors import PhregError
    from phreg.method.denoising import calibrate, denoise
    from phreg.method.loss import DistillationLoss, distillation_loss
    from phreg.method.views import Views, sample_views
    from phreg.models import Backbone, Student, add_registers, load_backbone, load_student

__all__ = [
    "Backbone",
    "DistillationLoss",
    "PhregError",
    "Student",
    "Views",
    "add_registers",
    "calibrate",
    "denoise",
    "distillation_loss",
    "load_backbone",
    "load_student",
    "open_cache",
    "sample_views",
]

_HOMES = {
    "phreg.cache": ("open_cache",),
    "phreg.method.denoising": ("calibrate", "denoise"),
    "phreg.method.loss": ("DistillationLoss", "distillation_loss"),
    "phreg.errors": ("PhregError",),
    "phreg.models": ("Backbone", "Student", "add_registers", "load_backbone", "load_student"),
    "phreg.method.views": ("Views", "sample_views"),
}
"""No module may have the name of what is imported lazily: importing it would put the module in its place."""

_torchvision.mend_when_imported()
keep_off_proxies()


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            globals()[name] = value = getattr(importlib.import_module(home), name)
            return value
    try:
        return importlib.import_module(f"{__name__}.{name}")  # `phreg.errors`, `phreg.models` and the like
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
