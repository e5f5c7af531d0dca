"""The loss curve as a figure: one panel a term, training and validation in each."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from phreg.errors import DataError
from phreg.evaluate.panels import INK, QUIET, new_figure, plain_log_axis, png
from phreg.method.loss import TERMS

LOG_FROM = 4.0
STYLES: dict[str, dict[str, Any]] = {
    "train": {"color": "#9db7d5", "linewidth": 1.2},
    "validation": {"color": "#c0392b", "linewidth": 1.6, "marker": "o", "markersize": 4},
}


def draw_curve(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """PNG bytes of the rows of `curve.jsonl` (`step`, `split`, the terms of the loss, `total`).

    The scale is logarithmic where the values span much (`LOG_FROM`). Raises `DataError` if there are no rows.
    """
    if not rows:
        raise DataError("There is no loss curve to draw", expected="at least one row", found="none")
    titles = {name: term.title for name, term in TERMS.items() if name in rows[0]} | {"total": "total"}
    figure = new_figure(len(titles) * 3.4, 2.9)
    panels = figure.subplots(1, len(titles))
    for axes, (term, title) in zip(panels, titles.items(), strict=True):
        for split, style in STYLES.items():
            points = sorted((row["step"], row[term]) for row in rows if row["split"] == split)
            if points:
                axes.plot(*zip(*points, strict=True), label=split, **style)
        values = [row[term] for row in rows]
        if min(values) > 0 and max(values) > LOG_FROM * min(values):
            axes.set_yscale("log")
            plain_log_axis(axes.yaxis)
        _dress(axes, title)
    panels[-1].legend(fontsize=8.5, frameon=False)
    return png(figure)


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel("step", fontsize=9, color=QUIET)
    axes.tick_params(labelsize=8, which="both")
    axes.grid(True, which="both", alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
