import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phreg.errors import ConfigError
from phreg.method import views as views_module
from phreg.method.views import Views, sample_views


@given(
    rows=st.integers(1, 40), columns=st.integers(1, 40), n=st.integers(1, 20),
    max_shift=st.floats(0, 0.5), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_sampled_views_keep_the_contract(
    rows: int, columns: int, n: int, max_shift: float, seed: int
) -> None:
    views = sample_views((rows, columns), n, max_shift, seed)
    assert views.offsets.shape == (n, 2)
    assert views.flips.shape == (n,)
    assert views.offsets[0].tolist() == [0, 0]
    assert not views.flips[0]
    assert (np.abs(views.offsets) <= [round(max_shift * rows), round(max_shift * columns)]).all()
    again = sample_views((rows, columns), n, max_shift, seed)
    assert (again.offsets == views.offsets).all()
    assert (again.flips == views.flips).all()


def test_offsets_are_spread_out() -> None:
    """Farthest point sampling: no two of ten offsets are close on a large grid."""
    for seed in range(20):
        offsets = sample_views(100, n=10, seed=seed).offsets
        distances = np.linalg.norm(offsets[:, None] - offsets[None], axis=-1)
        assert distances[~np.eye(10, dtype=bool)].min() > 5


def test_seeds_flips_and_offsets_vary() -> None:
    views = [sample_views(37, seed=seed) for seed in range(50)]
    assert len({v.offsets.tobytes() for v in views}) == 50
    share = np.mean([v.flips[1:].mean() for v in views])
    assert 0.35 < share < 0.65


def test_known_views() -> None:
    """Cached targets depend on these: if this fails, the format version of the target spec must rise."""
    square, oblong = sample_views(37, seed=3), sample_views((4, 20), 5, 0.3, seed=3)
    assert square.offsets.tolist() == [
        [0, 0], [-6, 6], [6, -6], [-6, -6], [5, 6], [6, 0], [-6, 0], [-1, 5], [-1, -5], [2, 3],
    ]  # fmt: skip
    assert square.flips.astype(int).tolist() == [0, 0, 1, 1, 1, 1, 0, 1, 0, 0]
    assert oblong.offsets.tolist() == [[0, 0], [1, 6], [0, -6], [1, -3], [1, 3]]
    assert oblong.flips.astype(int).tolist() == [0, 0, 1, 1, 0]


def test_ten_candidates_per_view_are_drawn_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray] = []
    spread_out = views_module._spread_out
    monkeypatch.setattr(views_module, "_spread_out", lambda c, n: drawn.append(c) or spread_out(c, n))
    for seed in range(200):
        sample_views((20, 40), 10, 0.15, seed)
    assert {candidates.shape for candidates in drawn} == {(100, 2)}
    for axis, reach in enumerate((3, 6)):
        values, counts = np.unique(np.concatenate(drawn)[:, axis], return_counts=True)
        assert values.tolist() == list(range(-reach, reach + 1))
        assert np.abs(counts / counts.mean() - 1).max() < 0.1


@pytest.mark.parametrize(
    ("offsets", "flips"),
    [([[0, 0, 0]], [0]), ([[0, 0]], [0, 1]), ([0, 0], [0]), (np.zeros((0, 2)), []), ([[0.5, 0]], [0])],
)
def test_views_that_do_not_fit_are_refused(offsets: object, flips: object) -> None:
    with pytest.raises(ConfigError):
        Views(offsets, flips)


@pytest.mark.parametrize("arguments", [{"n": 0}, {"max_shift": 1.0}, {"max_shift": -0.1}])
def test_impossible_samples_are_refused(arguments: dict) -> None:
    with pytest.raises(ConfigError):
        sample_views(9, **arguments)


def test_views_of_a_batch() -> None:
    shared = sample_views(9, 4)
    assert shared.for_batch(3).offsets.shape == (3, 4, 2)
    with pytest.raises(ConfigError, match="2 sets"):
        shared.for_batch(2).for_batch(3)
