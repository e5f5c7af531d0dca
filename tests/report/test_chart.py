import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phreg.report import Curve
from phreg.report.chart import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, WIDTH, Scale, draw, thinned

values = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, 0.0])
curves = st.lists(st.tuples(st.integers(0, 10_000).map(float), values), max_size=30).map(tuple)


@given(curves, curves)
def test_every_finite_point_is_drawn_inside_the_frame(train: tuple, validation: tuple) -> None:
    drawn = draw(Curve("Loss", "", train, validation))
    places = [
        tuple(map(float, place.split(",")))
        for line in drawn.iter("polyline")
        for place in line.attrib["points"].split()
    ]
    assert len(places) == sum(math.isfinite(value) for _, value in (*train, *validation))
    for x, y in places:
        assert LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1
        assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1


def test_lower_values_are_drawn_lower_and_later_steps_further_right() -> None:
    drawn = draw(Curve("Loss", "", ((0.0, 3.0), (1.0, 2.0), (2.0, 1.0))))
    line = next(drawn.iter("polyline")).attrib["points"].split()
    xs, ys = zip(*(map(float, place.split(",")) for place in line), strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys)  # SVG counts downwards


@pytest.mark.parametrize(
    ("low", "high", "log"), [(0.0, 1.0, False), (0.02, 0.9, True), (1e-5, 3.0, True), (0.1, 0.5, True)]
)
def test_ticks_are_few_and_inside(low: float, high: float, log: bool) -> None:
    ticks = Scale(low, high, 0, 100, log).ticks()
    assert 2 <= len(ticks) <= 7
    assert all(low <= tick <= high for tick in ticks)


def test_wide_ranges_are_logarithmic_and_say_so() -> None:
    def texts(*points: tuple[float, float]) -> list[str | None]:
        return [text.text for text in draw(Curve("Loss", "", points)).iter("text")]

    assert "step, log scale" in texts((0.0, 1.0), (1.0, 0.01))
    assert "step" in texts((0.0, 1.0), (1.0, 0.9))
    assert "step" in texts((0.0, 1.0), (1.0, -5.0))


def test_long_curves_become_means() -> None:
    points = [(float(i), float(i % 2)) for i in range(10 * MOST_POINTS)]
    short = thinned(points)
    assert len(short) == MOST_POINTS
    assert all(value == 0.5 for _, value in short)
    assert thinned(points[:5]) == points[:5]


def test_it_says_in_words_where_the_curve_goes() -> None:
    drawn = draw(Curve("Loss", "", ((1.0, 0.5), (9.0, 0.25)), ((9.0, 0.3),)))
    title = drawn.attrib["aria-label"]
    assert "training from 0.5 at step 1 to 0.25 at 9" in title
    assert "held out from 0.3" in title
