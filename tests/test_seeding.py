import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phreg import seeding
from phreg.seeding import Draws, derive_rng, derive_seed

scopes = st.lists(st.text() | st.integers(), max_size=4)


@given(st.integers(), scopes)
def test_seeds_are_functions_of_their_scope(seed: int, scope: list) -> None:
    assert derive_seed(seed, *scope) == derive_seed(seed, *scope)
    assert 0 <= derive_seed(seed, *scope) < 2**63
    assert derive_seed(seed, *scope) != derive_seed(seed + 1, *scope)
    assert derive_seed(seed, *scope, "x") != derive_seed(seed, *scope)


def test_parts_do_not_run_together() -> None:
    assert derive_seed(0, "a", "bc") != derive_seed(0, "ab", "c")
    assert derive_seed(0, "a|1:b") != derive_seed(0, "a", "b")
    assert Draws(0, "a", "bc").bits(1) != Draws(0, "ab", "c").bits(1)


def test_draws_are_pinned() -> None:
    """Targets and orders depend on these numbers: a change of theirs must be a new format version."""
    scope = (0, "views", "photos-000000", "n01440764", 0)
    assert Draws(*scope).bits(3).tolist() == [
        17693733213814078989,
        15942962173048914698,
        13394310471851509383,
    ]
    assert Draws(*scope).uniform(3).tolist() == [0.9591791994898075, 0.8642697111936926, 0.7261070256263373]
    assert Draws(0, "a").integers(-3, 3, 12).tolist() == [-1, 2, 2, 2, 2, 2, -1, -3, 2, 2, -2, -3]
    assert Draws(0, "a").coins(8).tolist() == [False, True, True, False, False, True, False, False]
    assert Draws(0, "a").permutation(10).tolist() == [9, 4, 5, 2, 6, 7, 0, 1, 3, 8]
    assert derive_seed(7, "epoch", 3) == 2313386746366595805


def test_the_bits_are_those_of_shake_256() -> None:
    digest = hashlib.shake_256(b"7|5:epoch|1:3").digest(16)
    first, second = (int.from_bytes(digest[begin : begin + 8], "big") for begin in (0, 8))
    assert Draws(7, "epoch", 3).bits(2).tolist() == [first, second]


@given(st.integers(), scopes, st.lists(st.integers(0, 5), max_size=5))
def test_a_stream_is_the_same_however_it_is_cut(seed: int, scope: list, counts: list[int]) -> None:
    draws = Draws(seed, *scope)
    cut = [number for count in counts for number in draws.bits(count).tolist()]
    assert cut == Draws(seed, *scope).bits(sum(counts)).tolist()


@given(st.integers(), st.integers(-(2**40), 2**40), st.integers(0, 2**40), st.integers(0, 50))
def test_integers_are_within_their_bounds(seed: int, low: int, span: int, count: int) -> None:
    drawn = Draws(seed).integers(low, low + span, count)
    assert len(drawn) == count
    assert all(low <= number <= low + span for number in drawn.tolist())


def test_integers_are_even_where_bits_are_drawn_again() -> None:
    """For 3 * 2^61 values a quarter of the bits is drawn again; else the last third of the values would come
    two times where the others come three."""
    counts = Counter(Draws(1).integers(-1, 1, 30_000).tolist())
    assert max(abs(count - 10_000) for count in counts.values()) < 400
    large = Draws(2).integers(0, 3 * 2**61 - 1, 30_000)
    thirds = np.histogram(large / 2**61, bins=[0, 1, 2, 3])[0]
    assert max(abs(count - 10_000) for count in thirds) < 400


def test_bits_that_would_make_some_likelier_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    given_out = iter([2**64 - 1, 5, 2**64 - 1, 7])
    monkeypatch.setattr(
        Draws, "bits", lambda self, count: np.array([next(given_out) for _ in range(count)], np.uint64)
    )
    assert Draws(0).integers(0, 2, 2).tolist() == [2, 1]


def test_centred_numbers_have_a_mean_of_0_and_a_deviation_of_1() -> None:
    drawn = Draws(3).centred(200, 500)
    assert drawn.shape == (200, 500)
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01


def test_uniform_numbers_are_even_and_below_one() -> None:
    drawn = Draws(3).uniform(100_000)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert np.abs(np.histogram(drawn, bins=10, range=(0, 1))[0] - 10_000).max() < 400


@given(st.integers(), st.integers(0, 200))
def test_a_permutation_has_every_number_once(seed: int, count: int) -> None:
    assert sorted(Draws(seed).permutation(count).tolist()) == list(range(count))


def test_all_orders_are_as_likely() -> None:
    counts = Counter(tuple(Draws(seed, "order").permutation(4).tolist()) for seed in range(4800))
    assert len(counts) == 24
    assert max(abs(count - 200) for count in counts.values()) < 60


def test_numpy_s_generator_is_a_function_of_its_scope() -> None:
    assert derive_rng(0, "a").random() == derive_rng(0, "a").random() != derive_rng(0, "b").random()


LIBRARY_DRAWS = re.compile(
    r"derive_rng\(|default_rng|np\.random\.(?!Generator\b)|RandomState|torch\.rand|randperm"
)
MAY_DRAW = {
    "phreg/seeding.py",
    "phreg/cache/verify.py",  # which targets are looked at again
    "phreg/models/student.py",  # start values of registers: its comment says why
}


def test_no_stored_value_depends_on_how_a_library_draws() -> None:
    """But for drawn scenes, which are known by their bytes."""
    sources = Path(seeding.__file__).parent.rglob("*.py")
    drawing = {
        f"phreg/{path.relative_to(Path(seeding.__file__).parent)}"
        for path in sources
        if LIBRARY_DRAWS.search(path.read_text())
    }
    assert {path for path in drawing if not path.startswith("phreg/demo/world/")} == MAY_DRAW
