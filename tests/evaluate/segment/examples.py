"""Images of distinct patches, a backbone for them, and a labelled set in memory."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from phreg.config.labels import SegmentationConfig
from phreg.errors import DataError
from phreg.evaluate.datasets.base import LabelledImage, LabelledSet
from phreg.evaluate.segment import Segmenter
from phreg.models import Backbone, load_backbone
from tests.helpers import make_image, tiny_clip

PATCH = 8


def backbone() -> Backbone:
    """64 px, patch 8, features of width 16; each patch's feature is its own."""
    return load_backbone(tiny_clip(), read_out="value")


def image(seed: int = 0, width: int = 64, height: int = 64) -> np.ndarray:
    return np.array(make_image(seed, width, height))


def patch_features(model: Backbone, pixels: np.ndarray) -> Tensor:
    """Unit-norm features of one image's patches [P, C]."""
    with torch.no_grad():
        features = model(model.normalize(torch.from_numpy(pixels)[None]))
    return F.normalize(features[0].flatten(1).T, dim=-1)


def random_names(count: int, dim: int = 16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator), dim=-1)


def segmenter(
    names: int = 6, classes: int = 4, background: int | None = None, **settings: object
) -> Segmenter:
    """`names` random directions, the last ones all of the last class."""
    owner = torch.arange(names).clamp(max=classes - 1)
    config = SegmentationConfig.model_validate(settings)
    return Segmenter(backbone(), random_names(names), owner, classes, config, background)


class MemorySet(LabelledSet):
    """Labelled images, or errors to raise in their place."""

    def __init__(self, items: Sequence[LabelledImage | DataError], classes: int, **options: object) -> None:
        self.name = "memory"
        self.classes = tuple((f"class {i}", f"alias {i}") for i in range(classes))
        self.items = items
        for name, value in options.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> LabelledImage:
        item = self.items[index]
        if isinstance(item, DataError):
            raise item
        return item
