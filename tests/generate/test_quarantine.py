"""The share of samples that may be left out, and the summary of a run that fails on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phreg.errors import GenerationError
from phreg.generate.quarantine import check_quarantined, kind_of, most_allowed


@pytest.mark.parametrize(
    ("share", "samples", "allowed"),
    [
        (0.01, 50, 1),
        (0.01, 100, 1),
        (0.01, 1000, 10),
        (0.29, 100, 29),
        (0.0, 10**6, 0),
        (1.0, 7, 7),
        (0.5, 3, 1),
    ],
)
def test_the_rule(share: float, samples: int, allowed: int) -> None:
    assert most_allowed(share, samples) == allowed


@given(st.floats(1e-9, 1), st.integers(1, 10**7))
def test_one_bad_image_never_stops_a_run(share: float, samples: int) -> None:
    assert most_allowed(share, samples) >= 1
    check_quarantined("the targets", [("a-0", "k", "no bytes")], samples, share)


def test_none_at_all_where_none_is_allowed() -> None:
    check_quarantined("the targets", [], 10, 0.0)
    with pytest.raises(GenerationError, match="at most 0"):
        check_quarantined("the targets", [("a-0", "k", "no bytes")], 10, 0.0)


def test_the_summary_counts_reasons_and_names_keys_by_shard() -> None:
    cut = [(f"a-{i % 2}", f"k{i}", f"image file is truncated ({i} bytes not processed)") for i in range(14)]
    left_out = [*cut, ("b", "page", "not an image: it begins with b'<!DOCTYPE html>'")]
    with pytest.raises(GenerationError) as caught:
        check_quarantined("the targets 'denoised'", left_out, 100, 0.05)
    error = caught.value
    assert error.problem == "15 of 100 samples cannot be used for the targets 'denoised'"
    assert error.expected.startswith("at most 5 ")
    lines = [line.strip() for line in error.found.splitlines() if line]
    assert lines[:2] == [
        "14 x image file is truncated (* bytes not processed)",
        "1 x not an image: it begins with *",
    ]
    assert "a-0: k0, k2, k4, k6, k8 and 2 more" in lines
    assert "b: page" in lines
    assert "max_quarantined" in error.remedy
    assert "is kept" in error.remedy


def test_the_summary_stays_short_however_many_there_are() -> None:
    left_out = [(f"s-{i}", f"k{i}", chr(97 + i % 26) * 300) for i in range(10_000)]
    with pytest.raises(GenerationError) as caught:
        check_quarantined("the targets", left_out, 10_000, 0.01)
    assert len(caught.value.found.splitlines()) < 25
    assert "and 9990 more shards" in caught.value.found
    assert "x other reasons" in caught.value.found


def test_kinds_differ_only_in_what_was_wrong() -> None:
    assert kind_of("50000x50000 pixels, more than 8") == kind_of("9x9000000 pixels, more than 8")
    assert kind_of("no bytes") != kind_of("NaN or Inf in its features")
