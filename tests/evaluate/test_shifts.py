"""Shifts: distinct, none of them nothing, as far as was asked, the same for the same seed."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from phreg.errors import ConfigError
from phreg.evaluate import draw_shifts

SIDES = st.integers(1, 40)


@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES, st.integers(1, 30), st.floats(0.01, 0.9), st.integers(0, 5))
def test_shifts(rows: int, columns: int, count: int, max_shift: float, seed: int) -> None:
    assume(rows * columns > 1)
    shifts = draw_shifts((rows, columns), count, max_shift, seed)
    drawn = [tuple(shift) for shift in shifts.tolist()]
    reach = [min(max(1, round(max_shift * side)), side - 1) for side in (rows, columns)]
    there_are = (2 * reach[0] + 1) * (2 * reach[1] + 1) - 1
    assert len(set(drawn)) == len(drawn) == min(count, there_are)
    assert (0, 0) not in drawn
    assert all(abs(dy) <= reach[0] and abs(dx) <= reach[1] for dy, dx in drawn)
    assert draw_shifts((rows, columns), count, max_shift, seed).equal(shifts)


def test_seeds_give_different_shifts() -> None:
    assert len({str(draw_shifts((16, 16), 8, 0.15, seed).tolist()) for seed in range(10)}) > 5


def test_known_shifts() -> None:
    """Stored evaluations depend on these: if this fails, their format version must rise."""
    assert draw_shifts((16, 16), 8, 0.15, 0).tolist() == [
        [2, -2], [1, -1], [-2, 1], [1, 0], [2, -1], [1, 2], [-2, -1], [0, -1],
    ]  # fmt: skip


def test_a_single_patch_cannot_be_shifted() -> None:
    with pytest.raises(ConfigError, match="single patch"):
        draw_shifts((1, 1), 8, 0.15, 0)
