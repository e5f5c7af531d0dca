"""A loss curve as a small SVG: it takes its colours from the page, and so suits light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from matplotlib.ticker import LogLocator, MaxNLocator

from phreg.report.content import Curve

WIDTH, HEIGHT = 340.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 10.0, 8.0, 34.0
MOST_POINTS = 300
"""Longer curves are drawn as means of so many equal stretches."""
MOST_DOTS = 40
LOG_FROM = 4.0
"""Largest over smallest value past which the scale is logarithmic."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """Values to positions, linear or logarithmic, from `start` to `end` in the picture's units."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """A few round values within the scale."""
        found: list[float] = []
        if self.log:
            subs = (1.0, 2.0, 5.0) if self.high < 100 * self.low else (1.0,)
            found = self._within(LogLocator(subs=subs).tick_values(self.low, self.high))
        if len(found) < 2:
            found = self._within(MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(self.low, self.high))
        return found

    def _within(self, values: Sequence[float]) -> list[float]:
        return [float(v) for v in values if self.low <= v <= self.high]


def draw(curve: Curve) -> Element:
    """The `<svg>`. Values that are not finite are left out; a curve with none left is an empty frame."""
    train, validation = thinned(_finite(curve.train)), _finite(curve.validation)
    steps, values = _ranges([*train, *validation])
    across, up = Scale(*steps, LEFT, WIDTH - RIGHT), _vertical(*values)
    dots = validation if len(validation) <= MOST_DOTS else validation[-1:]
    attributes = {"role": "img", "aria-label": _described(curve), "class": "chart"}
    picture = Element("svg", attributes, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}")
    picture.extend(_axes(across, up))
    lines = (train, "train"), (validation, "held-out")
    picture.extend(_path(points, across, up, kind) for points, kind in lines if points)
    picture.extend(_dot(across(step), up(value)) for step, value in dots)
    return picture


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most `MOST_POINTS` points, each the mean of a stretch of the curve."""
    stretch = math.ceil(len(points) / MOST_POINTS)
    if stretch <= 1:
        return list(points)
    parts = (points[i : i + stretch] for i in range(0, len(points), stretch))
    return [(sum(s for s, _ in part) / len(part), sum(v for _, v in part) / len(part)) for part in parts]


def _finite(points: Points) -> list[tuple[float, float]]:
    return sorted(point for point in points if all(map(math.isfinite, point)))


def _ranges(points: Points) -> tuple[tuple[float, float], tuple[float, float]]:
    steps, values = [s for s, _ in points] or [0.0], [v for _, v in points] or [0.0]
    return _spread(min(steps), max(steps)), _spread(min(values), max(values))


def _spread(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty."""
    room = 0.5 * abs(low) or 0.5
    return (low, high) if high > low else (low - room, high + room)


def _vertical(low: float, high: float) -> Scale:
    log = low > 0 and high > LOG_FROM * low
    room = 0.04 * (high - low)
    bounds = (low / 1.1, high * 1.1) if log else (low - room, high + room)
    return Scale(*bounds, HEIGHT - BOTTOM, TOP, log)


def _axes(across: Scale, up: Scale) -> list[Element]:
    parts = []
    for value in up.ticks():
        y = up(value)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y))
        parts.append(_text(f"{value:g}", LEFT - 6, y + 3.5, "end"))
    for value in across.ticks():
        parts.append(_text(f"{value:g}", across(value), HEIGHT - BOTTOM + 15, "middle"))
    label = "step" + (", log scale" if up.log else "")
    return [*parts, _text(label, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "middle")]


def _line(x1: float, y1: float, x2: float, y2: float) -> Element:
    return Element("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}")


def _text(text: str, x: float, y: float, anchor: str) -> Element:
    made = Element("text", {"text-anchor": anchor}, x=f"{x:.1f}", y=f"{y:.1f}")
    made.text = text
    return made


def _path(points: Points, across: Scale, up: Scale, kind: str) -> Element:
    places = " ".join(f"{across(step):.1f},{up(value):.1f}" for step, value in points)
    return Element("polyline", {"points": places, "class": kind})


def _dot(x: float, y: float) -> Element:
    return Element("circle", {"class": "held-out"}, cx=f"{x:.1f}", cy=f"{y:.1f}", r="2.6")


def _described(curve: Curve) -> str:
    ends = [
        f"{name} from {points[0][1]:.3g} at step {points[0][0]:g} to {points[-1][1]:.3g} at {points[-1][0]:g}"
        for name, points in (("training", curve.train), ("held out", curve.validation))
        if points
    ]
    return f"{curve.title}: {'; '.join(ends) or 'no points'}"
