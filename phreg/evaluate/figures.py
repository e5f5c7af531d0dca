"""Figures of dense features: before and after, and one model under inspection. They come as PNG bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from torch import Tensor

from phreg.evaluate.look import Look, telling_block
from phreg.evaluate.panels import (
    PANEL_INCHES,
    Norms,
    add_colour_bar,
    label_row,
    mark,
    new_figure,
    norm_scale,
    png,
    show_colours,
    show_image,
    show_norms,
)
from phreg.evaluate.pca import colours

Crop = UInt8[np.ndarray, "H W 3"]
AFTER = -1
"""The stage of a `Look` that holds the features, after the final norm."""


def draw_before_after(
    crop: Crop, before: Look, after: Look, title: str = "", names: tuple[str, str] = ("teacher", "student")
) -> bytes:
    """A crop, and below each other two models' looks at it alone: colours and norms, a row a model.

    Norms are those before the final norm, after the block with most of the first model's artifacts, which are
    framed. Colours share one basis and norms one scale, so that the rows compare. Raises `NonFiniteError`.
    """
    figure = new_figure(3 * PANEL_INCHES + 1.0, 2 * PANEL_INCHES + 0.7, title)
    grid = figure.add_gridspec(2, 3)
    show_image(figure.add_subplot(grid[:, 0]), crop, "image")
    looks, block = (before, after), telling_block([before])
    blocks = [min(block, len(seen.norms[0]) - 2) for seen in looks]  # another network may have fewer
    scale = norm_scale([_norms(*pair) for pair in zip(looks, blocks, strict=True)])
    pictures = colours([seen.features[0] for seen in looks])
    on_the_right = []
    rows = zip(names, pictures, looks, blocks, strict=True)
    for row, (name, picture, seen, block) in enumerate(rows):
        left, right = (figure.add_subplot(grid[row, column]) for column in (1, 2))
        show_colours(left, picture, "" if row else "features (PCA)")
        new = row == 0 or block != blocks[0]
        shown = _show_stage(right, seen, block, scale, f"norms after block {block + 1}" if new else "")
        label_row(left, name)
        on_the_right.append(right)
    add_colour_bar(figure, shown, on_the_right)
    return png(figure)


@dataclass(frozen=True, eq=False)
class Inspected:
    """One image of an inspection: its crop, the model's look at it alone, and its features denoised."""

    name: str
    crop: Crop = field(repr=False)
    look: Look = field(repr=False)
    denoised: Float[Tensor, "C h w"] = field(repr=False)


def draw_inspection(items: Sequence[Inspected], title: str = "") -> bytes:
    """A row per image: the crop, features, denoised features in the same colours, and norms before and after
    the final norm with artifacts framed.

    Before it the block is shown that has most artifacts. Colours are fitted to each image; norms share one
    scale a column. Raises `NonFiniteError`.
    """
    figure = new_figure(5 * PANEL_INCHES + 1.6, len(items) * (PANEL_INCHES + 0.1) + 0.7, title)
    axes = figure.subplots(len(items), 5, squeeze=False)
    stages = {3: telling_block([item.look for item in items]), 4: AFTER}
    heads = ["image", "features (PCA)", "denoised (PCA)"]
    heads += [f"norms after block {stages[3] + 1}", "norms of features"]
    for row, item in enumerate(items):
        plain_picture, denoised_picture = colours([item.look.features[0], item.denoised])
        show_image(axes[row, 0], item.crop, "" if row else heads[0])
        label_row(axes[row, 0], item.name.rpartition("/")[2])
        show_colours(axes[row, 1], plain_picture, "" if row else heads[1])
        show_colours(axes[row, 2], denoised_picture, "" if row else heads[2])
    for column, stage in stages.items():
        scale = norm_scale([_norms(item.look, stage) for item in items])
        for row, item in enumerate(items):
            head = "" if row else f"{heads[column]}, artifacts framed"
            shown = _show_stage(axes[row, column], item.look, stage, scale, head)
        add_colour_bar(figure, shown, list(axes[:, column]))
    return png(figure)


def _show_stage(axes: Axes, seen: Look, stage: int, scale: Normalize, title: str) -> AxesImage:
    """Norms of one stage, its artifacts framed."""
    shown = show_norms(axes, _norms(seen, stage), scale, title)
    mark(axes, seen.artifacts[0, stage].numpy())
    return shown


def _norms(seen: Look, stage: int) -> Norms:
    norms: Norms = seen.norms[0, stage].numpy()
    return norms
