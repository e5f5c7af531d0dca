"""No caller can write features that are not finite, whoever encoded them, wherever they come from."""

import uuid
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from phreg.cache import EncodedFeatures, TargetRows, TargetStore
from phreg.cache.encodings import LARGEST, LAYOUTS
from phreg.errors import CacheError, NonFiniteError
from phreg.storage import Folder
from tests.cache.examples import DIM, GRID, SHARD_DIGEST, VIEWS, make_features, make_spec

ENCODINGS = sorted(LAYOUTS)
ROWS, PATCHES = 3, GRID[0] * GRID[1]
any_encoding = pytest.mark.parametrize("encoding", ENCODINGS)

largest = [sign * value for value in LARGEST.values() for sign in (1, -1)]
just_past = [float(np.nextafter(np.float32(value), np.float32(np.inf))) for value in LARGEST.values()]
odd = [
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    1.17e-38,
    3.4028235e38,
    -3.4028235e38,
    65519.0,
    65520.0,
    *largest,
    *just_past,
]
values = arrays.arrays(
    np.float32,
    (ROWS, PATCHES, DIM),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True)
    | st.sampled_from(np.float32(odd).tolist()),
    fill=st.sampled_from([0.0, 1.5, 1e-45, -7e37]),
)


def rows_with(features: EncodedFeatures) -> TargetRows:
    return TargetRows(
        keys=[f"k{i}" for i in range(len(features))],
        crops=np.zeros(len(features), int),
        boxes=np.zeros((len(features), 3), int),
        views=np.zeros((len(features), VIEWS, 3), int),
        features=features,
    )


def commit(features: EncodedFeatures) -> TargetStore:
    store = TargetStore.create(Folder(f"memory://{uuid.uuid4().hex}"), make_spec(features.encoding))
    try:
        store.commit("photos-0", SHARD_DIGEST, rows_with(features))
    except NonFiniteError:
        assert not store.folder.list("data")
        assert store.shards() == []
        raise
    return store


@any_encoding
@given(values=values)
@settings(max_examples=80, deadline=None)
@example(values=np.full((ROWS, PATCHES, DIM), 5e37, np.float32) * np.float32([1, -1, 1, -1, 0]))
def test_what_is_encoded_is_finite_when_decoded(encoding: str, values: np.ndarray) -> None:
    sizes = np.abs(values)
    if not np.isfinite(values).all():
        with pytest.raises(NonFiniteError):
            EncodedFeatures.encode(values, encoding)
    elif sizes.max() > LARGEST[encoding]:
        with pytest.raises(CacheError):
            EncodedFeatures.encode(values, encoding)
    else:
        encoded = EncodedFeatures.encode(values, encoding)
        assert encoded.non_finite_rows() == []
        assert torch.isfinite(encoded.decode()).all()


def _damaged(encoding: str, draw: st.DataObject) -> tuple[dict[str, Any], bool]:
    """Arrays of an encoding with bits put in at random places, and whether all is finite nevertheless."""
    arrays_ = {n: a.copy() for n, a in EncodedFeatures.encode(make_features(ROWS), encoding).arrays.items()}
    for _ in range(draw.draw(st.integers(1, 3))):
        array = arrays_[draw.draw(st.sampled_from(sorted(arrays_)))]
        place = draw.draw(st.integers(0, array.size - 1))
        bits = array.reshape(-1).view(f"u{array.itemsize}")
        special = {1: [0, 127, 128], 2: [0x7C00, 0x7E00, 0x7F80, 0xFF80, 1], 4: [0x7F800000, 0x7FC00000, 1]}
        bits[place] = draw.draw(
            st.sampled_from(special[array.itemsize]) | st.integers(0, 2 ** (8 * array.itemsize) - 1)
        )
    finite = bool(torch.isfinite(EncodedFeatures(encoding, arrays_).decode()).all())
    return arrays_, finite


@any_encoding
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_only_finite_rows_are_committed_whoever_encoded_them(encoding: str, data: st.DataObject) -> None:
    arrays_, finite = _damaged(encoding, data)
    features = EncodedFeatures(encoding, arrays_)
    if finite:
        assert commit(features).read("photos-0").features.non_finite_rows() == []
        return
    bad = features.non_finite_rows()
    assert bad
    with pytest.raises(NonFiniteError, match=f"'k{bad[0]}'"):
        commit(features)


@pytest.mark.parametrize("rows", [[0], [1, 2]])
@any_encoding
def test_the_rows_are_named_and_nothing_is_written(encoding: str, rows: list[int]) -> None:
    arrays_ = EncodedFeatures.encode(make_features(ROWS), encoding).arrays
    name, value = {"bfloat16": ("features", 0x7FC0), "int8": ("scales", np.inf)}.get(
        encoding, ("features", np.nan)
    )
    for row in rows:
        arrays_[name][row].flat[4] = value
    with pytest.raises(NonFiniteError) as error:
        commit(EncodedFeatures(encoding, arrays_))
    assert error.value.found == ", ".join(f"'k{row}', crop 0" for row in rows)


def test_int8_does_not_overflow_where_one_token_has_a_wide_scale() -> None:
    """Rounded up to its first code, a value may decode to twice its distance from the mean."""
    tokens, outliers = 1_210_000, 60_500
    values = np.full((1, tokens, 2), -LARGEST["int8"], np.float32)
    values[..., 0] = 0
    values[0, :outliers, 1] = LARGEST["int8"]
    values[0, 0, 0] = 1  # 1100 standard deviations out: one step of this token's scale is 8.7 of them
    encoded = EncodedFeatures.encode(values, "int8")
    assert encoded.arrays["features"][0, 0].tolist() == [127, 1]
    assert encoded.non_finite_rows() == []


@any_encoding
@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, 7.25, -0.1, 5e37])
def test_features_that_are_all_equal_are_kept(encoding: str, value: float) -> None:
    if value > LARGEST[encoding]:
        return
    values = np.full((ROWS, PATCHES, DIM), value, np.float32)
    decoded = commit(EncodedFeatures.encode(values, encoding)).read("photos-0").features.decode().numpy()
    assert np.allclose(decoded, values, rtol=2**-8, atol=1e-7)
    assert encoding not in ("float32", "int8") or np.array_equal(decoded, values)


@pytest.mark.parametrize("spread", [1e-42, 1e-38, 1e-30, 1e30])
def test_int8_keeps_channels_of_any_spread(spread: float) -> None:
    """Also where a standard deviation or a scale is subnormal."""
    values = make_features(ROWS)
    values[..., 2] = np.float32(spread) * np.sign(values[..., 2] - values[..., 2].mean())
    decoded = EncodedFeatures.encode(values, "int8").decode().numpy()
    assert np.isfinite(decoded).all()
    assert np.abs(decoded[..., 2] - values[..., 2]).max() <= 2 * spread
    others = [0, 1, 3, 4]
    assert np.allclose(decoded[..., others], values[..., others], rtol=0.05, atol=0.2)
