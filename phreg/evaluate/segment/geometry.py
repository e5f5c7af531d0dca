"""Sizes of inputs and places of windows. All in pixels, (height, width)."""

from phreg.config.labels import SegmentationConfig
from phreg.errors import ConfigError, SampleError

Size = tuple[int, int]
MAX_ASPECT = 16  # past it, an input of the right short side would be too long to see at once


def input_size(image: Size, short_side: int, patch: int) -> Size:
    """The size an image is resized to: its short side as asked, both sides whole patches.

    Raises `SampleError` for an image that is far longer than it is wide.
    """
    if min(image) < 1 or max(image) > MAX_ASPECT * min(image):
        raise SampleError(
            "The image's shape cannot be segmented",
            expected=f"sides that differ by a factor of at most {MAX_ASPECT}",
            found=f"{image[0]} x {image[1]} pixels",
        )
    scale = short_side / min(image)
    height, width = (max(round(side * scale / patch), 1) * patch for side in image)
    return height, width


def origins(length: int, window: int, stride: int) -> list[int]:
    """Where windows start along one side: every `stride` pixels, the last at the edge (mmsegmentation)."""
    starts = list(range(0, max(length - window, 0), stride))
    return [*starts, max(length - window, 0)]


def check_windows(settings: SegmentationConfig, patch: int) -> None:
    """Raises `ConfigError` for windows that cannot be cut into patches, or that leave gaps."""
    window, stride = settings.window, settings.stride
    if window is None and stride is not None:
        raise ConfigError("A stride without a window", remedy="give window: too, or leave stride: out")
    if window is None:
        return
    if window % patch:
        raise ConfigError(
            f"A window of {window} pixels cannot be cut into patches of {patch}",
            expected=f"a multiple of {patch}",
            remedy=f"use for instance window: {max(window // patch, 1) * patch}",
        )
    if stride is not None and stride > window:
        raise ConfigError(
            "Windows leave gaps", expected=f"a stride of at most {window} pixels", found=str(stride)
        )
