"""Crops: which region of an image is seen. What teacher and student both see is square."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from phreg.errors import ConfigError
from phreg.seeding import Draws
from phreg.types import Box


@dataclass(frozen=True)
class CropRule:
    """How crops are drawn: sides are uniform in [min_crop, 1] of the short side, places in all that fit.

    `image_size` is the side in pixels that a crop is resized to.
    """

    image_size: int
    min_crop: float
    crops_per_image: int
    seed: int

    def __post_init__(self) -> None:
        if self.image_size < 1 or self.crops_per_image < 1 or not 0 < self.min_crop <= 1:
            raise ConfigError(
                "Crops cannot be drawn by this rule",
                expected="image_size and crops_per_image of at least 1, min_crop above 0 and at most 1",
                found=str(self),
            )

    def box(self, shard: str, key: str, index: int, width: int, height: int) -> Box:
        """Crop `index` of a sample with an upright image of this size, the same wherever it is asked.

        The resize target is no part of the draw: students at another size see the same region.
        """
        if not 0 <= index < self.crops_per_image:
            raise IndexError(f"crop {index} of {self.crops_per_image}")
        size, down, across = Draws(self.seed, "crop", shard, key, index).uniform(3).tolist()
        short = min(width, height)
        side = min(max(round((self.min_crop + (1 - self.min_crop) * size) * short), 1), short)
        return Box(int(down * (height - side + 1)), int(across * (width - side + 1)), side)


def cut(image: Image.Image, box: Box, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The region of an RGB image at `size` pixels per side, bicubic with antialiasing."""
    top, left, side = box
    region = (left, top, left + side, top + side)
    return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box=region))


def cut_middle(image: Image.Image, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """The largest region in the middle with these proportions, at height x width pixels, as `cut` resizes."""
    scale = min(image.height / height, image.width / width)
    rows, columns = max(round(scale * height), 1), max(round(scale * width), 1)
    top, left = (image.height - rows) // 2, (image.width - columns) // 2
    region = (left, top, left + columns, top + rows)
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC, box=region))
