"""Figures of dense features: before and after, and one model under inspection. They come as PNG bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from phreg.evaluate.measures import outliers, token_norms
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

Crop = UInt8[np.ndarray, "S S 3"]
HEADS = ("image", "features (PCA)", "denoised (PCA)", "norms, outliers framed")
Features = Float[Tensor, "C h w"]


def draw_before_after(
    crop: Crop,
    before: Features,
    after: Features,
    title: str = "",
    names: tuple[str, str] = ("teacher", "student"),
) -> bytes:
    """A crop, and below each other two models' features of it: colours and norms, a row a model.

    Colours share one basis and norms one scale, so that the rows compare. Raises `NonFiniteError`.
    """
    figure = new_figure(3 * PANEL_INCHES + 1.0, 2 * PANEL_INCHES + 0.7, title)
    grid = figure.add_gridspec(2, 3)
    show_image(figure.add_subplot(grid[:, 0]), crop, "image")
    norms = [_norm_map(before), _norm_map(after)]
    scale = norm_scale(norms)
    on_the_right = []
    for row, (name, picture, norm) in enumerate(zip(names, colours([before, after]), norms, strict=True)):
        left, right = (figure.add_subplot(grid[row, column]) for column in (1, 2))
        show_colours(left, picture, "" if row else "features (PCA)")
        shown = show_norms(right, norm, scale, "" if row else "norms")
        label_row(left, name)
        on_the_right.append(right)
    add_colour_bar(figure, shown, on_the_right)
    return png(figure)


@dataclass(frozen=True, eq=False)
class Inspected:
    """One image of an inspection: its crop, a model's features and the same denoised."""

    name: str
    crop: Crop = field(repr=False)
    features: Features = field(repr=False)
    denoised: Features = field(repr=False)


def draw_inspection(items: Sequence[Inspected], title: str = "") -> bytes:
    """A row per image: the crop, features, denoised features in the same colours, norms with outliers framed.

    Colours are fitted to each image; norms share one scale. Raises `NonFiniteError`.
    """
    figure = new_figure(4 * PANEL_INCHES + 1.0, len(items) * (PANEL_INCHES + 0.1) + 0.7, title)
    axes = figure.subplots(len(items), 4, squeeze=False)
    scale = norm_scale([_norm_map(item.features) for item in items])
    for row, item in enumerate(items):
        heads = HEADS if row == 0 else ("",) * len(HEADS)
        plain_picture, denoised_picture = colours([item.features, item.denoised])
        show_image(axes[row, 0], item.crop, heads[0])
        label_row(axes[row, 0], item.name.rpartition("/")[2])
        show_colours(axes[row, 1], plain_picture, heads[1])
        show_colours(axes[row, 2], denoised_picture, heads[2])
        shown = show_norms(axes[row, 3], _norm_map(item.features), scale, heads[3])
        mark(axes[row, 3], _outlier_map(item.features))
    add_colour_bar(figure, shown, list(axes[:, 3]))
    return png(figure)


def _norm_map(features: Features) -> Norms:
    return token_norms(features[None]).reshape(features.shape[1:]).numpy()


def _outlier_map(features: Features) -> np.ndarray:
    return outliers(token_norms(features[None])).reshape(features.shape[1:]).numpy()
