import itertools

import pytest

from phreg.method.schedule import learning_rate


@pytest.mark.parametrize("total", [2, 3, 1000])
def test_it_starts_and_ends_where_it_should(total: int) -> None:
    assert learning_rate(0, total, 1e-4, 5e-6) == 1e-4
    assert learning_rate(total - 1, total, 1e-4, 5e-6) == pytest.approx(5e-6, rel=1e-12)


def test_it_decays_by_the_same_factor_a_step() -> None:
    rates = [learning_rate(step, 50, 1e-4, 5e-6) for step in range(50)]
    factors = [after / before for before, after in itertools.pairwise(rates)]
    assert max(factors) == pytest.approx(min(factors), rel=1e-12)
    assert max(factors) < 1


def test_a_single_step_is_the_first() -> None:
    assert learning_rate(0, 1, 1e-4, 5e-6) == 1e-4
