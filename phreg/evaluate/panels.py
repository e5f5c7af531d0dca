"""The panels that figures are made of, and the canvas they stand on (no pyplot: no global state)."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from phreg.errors import printable
from phreg.evaluate.pca import Colours

DPI = 110
PANEL_INCHES = 2.6
NORM_MAP = "viridis"
LOG_FROM = 4.0
"""Largest norm over the median norm past which norms are drawn on a logarithmic scale."""
INK, QUIET = "#1a1a1a", "#5a5a5a"

Norms = npt.NDArray[np.float64]


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """An empty figure, sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(plain(title, 90), fontsize=11, color=INK)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def plain(text: str, length: int) -> str:
    """Text as it is: no line breaks, not too long, no `$` read as mathematics, all of it printable."""
    flat = " ".join(printable(text).split())
    short = flat if len(flat) <= length else f"{flat[: length // 2 - 1]}…{flat[-length // 2 :]}"
    return short.replace("$", r"\$")


def show_image(axes: Axes, image: UInt8[np.ndarray, "H W 3"], title: str = "") -> None:
    _bare(axes, title)
    axes.imshow(image)


def show_colours(axes: Axes, colours: Colours, title: str = "") -> None:
    """A map of patches, each a square of one colour."""
    _bare(axes, title)
    axes.imshow(colours, interpolation="nearest")


def show_norms(axes: Axes, norms: Norms, scale: Normalize, title: str = "") -> AxesImage:
    """A map of norms on a colour scale; gives what a colour bar needs."""
    _bare(axes, title)
    return axes.imshow(norms, cmap=NORM_MAP, norm=scale, interpolation="nearest")


def mark(axes: Axes, mask: npt.NDArray[np.bool_]) -> None:
    """Frame patches of a map drawn before."""
    rows, columns = np.nonzero(mask)
    size = 0.8 * 72 * PANEL_INCHES / max(mask.shape)  # points; a little less than a patch
    axes.scatter(
        columns, rows, s=size**2, marker="s", facecolors="none", edgecolors="#ff3b30", linewidths=1.2
    )


def norm_scale(maps: Sequence[Norms]) -> Normalize:
    """One colour scale for all maps, from the smallest to the largest norm.

    Logarithmic where outliers would leave one shade to all other tokens.
    """
    together = np.concatenate([m.ravel() for m in maps])
    low, high = float(together.min()), float(together.max())
    if low > 0 and high > LOG_FROM * float(np.median(together)):
        return LogNorm(low, high)
    return Normalize(low, high) if high > low else Normalize(low - 0.5, low + 0.5)


def add_colour_bar(figure: Figure, shown: AxesImage, beside: Sequence[Axes]) -> None:
    """A colour bar for the norms, to the right of the panels that share it."""
    bar = figure.colorbar(shown, ax=list(beside), shrink=0.85, aspect=30)
    log = isinstance(shown.norm, LogNorm)
    bar.set_label("L2 norm (log scale)" if log else "L2 norm", fontsize=9, color=QUIET)
    bar.ax.tick_params(labelsize=8, which="both")
    if log:
        plain_log_axis(bar.ax.yaxis)
    bar.outline.set_visible(False)


def plain_log_axis(axis: Axis) -> None:
    """Ticks at 1, 2, 5, 10, ... written as they are, where matplotlib would write powers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def label_row(axes: Axes, name: str) -> None:
    axes.set_ylabel(plain(name, 32), fontsize=10, color=INK)


def _bare(axes: Axes, title: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=9.5, color=QUIET)
