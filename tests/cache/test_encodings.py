import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from phreg.cache import EncodedFeatures, encoded_bytes
from phreg.cache.encodings import LARGEST, LAYOUTS
from phreg.errors import CacheError, NonFiniteError
from tests.cache.examples import make_features

ENCODINGS = sorted(LAYOUTS)
any_encoding = pytest.mark.parametrize("encoding", ENCODINGS)
features = arrays.arrays(
    np.float32,
    st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(1, 6)),
    elements=st.floats(-60000, 60000, width=32),
)


def error_bound(encoding: str, values: np.ndarray, encoded: EncodedFeatures) -> np.ndarray:
    """The largest error of each value that the encoding promises (float32 rounding aside)."""
    size = np.abs(values).astype(np.float64)
    if encoding == "float32":
        return np.zeros_like(size)
    if encoding == "float16":
        return np.maximum(size * 2.0**-11, 2.0**-25)
    if encoding == "bfloat16":
        return np.maximum(size * 2.0**-8, 2.0**-134)
    scales, std = encoded.arrays["scales"], encoded.arrays["channel_std"].astype(np.float64)[:, None]
    spread = np.abs(values).max(initial=0.0, axis=(0, 1))
    return scales[..., None] * std * 0.5001 + 2e-5 * spread + 1e-37


@any_encoding
@given(values=features)
@settings(max_examples=60, deadline=None)
def test_errors_stay_within_bounds(encoding: str, values: np.ndarray) -> None:
    encoded = EncodedFeatures.encode(values, encoding)
    decoded = encoded.decode()
    assert decoded.dtype == torch.float32
    assert decoded.shape == values.shape == encoded.shape
    error = np.abs(decoded.numpy().astype(np.float64) - values)
    assert (error <= error_bound(encoding, values, encoded)).all()


@any_encoding
@given(values=features)
@settings(max_examples=20, deadline=None)
def test_equal_input_gives_equal_bytes(encoding: str, values: np.ndarray) -> None:
    first, second = (EncodedFeatures.encode(v, encoding) for v in (values, torch.from_numpy(values.copy())))
    for name, array in first.arrays.items():
        assert array.tobytes() == second.arrays[name].tobytes()


def test_bfloat16_rounds_to_nearest_even() -> None:
    ulp = 2.0**-7
    values = np.array([1 + ulp / 2, 1 + 3 * ulp / 2, 1 + 0.51 * ulp, -1 - ulp / 2], np.float32)
    encoded = EncodedFeatures.encode(values.reshape(1, 1, 4), "bfloat16")
    assert encoded.decode().flatten().tolist() == [1, 1 + 2 * ulp, 1 + ulp, -1]
    assert encoded.arrays["features"].flatten().tolist() == [0x3F80, 0x3F82, 0x3F81, 0xBF80]


@any_encoding
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_features_are_refused_by_row(encoding: str, bad: float) -> None:
    values = make_features(5)
    values[3, 2, 1] = bad
    with pytest.raises(NonFiniteError, match=r"1 of 5 rows(?s:.)*rows 3\n"):
        EncodedFeatures.encode(values, encoding)


@pytest.mark.parametrize("encoding", ["float16", "bfloat16", "int8"])
def test_values_out_of_range_are_refused_by_row(encoding: str) -> None:
    values = make_features(5)
    values[0, 0, 0] = LARGEST[encoding]
    assert torch.isfinite(EncodedFeatures.encode(values, encoding).decode()).all()
    values[1, 0, 0] = values[4, 0, 0] = -LARGEST[encoding] * 1.001
    with pytest.raises(CacheError, match=r"2 of 5 rows(?s:.)*rows 1, 4\n"):
        EncodedFeatures.encode(values, encoding)


def test_what_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(CacheError, match="int4"):
        EncodedFeatures.encode(make_features(1), "int4")
    with pytest.raises(CacheError, match=r"\[6, 5\]"):
        EncodedFeatures.encode(make_features(1)[0], "float32")


@any_encoding
def test_rows_are_picked_without_decoding_all(encoding: str) -> None:
    encoded = EncodedFeatures.encode(make_features(6), encoding)
    whole = encoded.decode()
    for rows in ([4, 1, 1], slice(2, 5), np.array([5]), [], slice(0, 0), [-1]):
        assert torch.equal(encoded[rows].decode(), whole[rows])
    assert torch.equal(encoded[2].decode(), whole[2:3])
    assert len(encoded[[4, 1, 1]]) == 3
    with pytest.raises(IndexError):
        encoded[6]


@any_encoding
def test_decode_works_on_the_device_asked_for(encoding: str) -> None:
    """The meta device takes no values, only arithmetic: decoding on the host first would not end there."""
    encoded = EncodedFeatures.encode(make_features(2), encoding)
    decoded = encoded.decode("meta")
    assert decoded.device.type == "meta"
    assert decoded.shape == encoded.shape
    assert decoded.dtype == torch.float32
    if torch.cuda.is_available():
        assert torch.allclose(encoded.decode("cuda").cpu(), encoded.decode(), rtol=1e-6, atol=1e-6)


@any_encoding
def test_decoded_features_are_ones_own(encoding: str) -> None:
    encoded = EncodedFeatures.encode(make_features(2), encoding)
    before = encoded.decode().clone()
    encoded.decode().zero_()
    assert torch.equal(encoded.decode(), before)


@any_encoding
@pytest.mark.parametrize("rows", [0, 3])
def test_size_is_as_planned(encoding: str, rows: int) -> None:
    encoded = EncodedFeatures.encode(make_features(rows), encoding)
    assert encoded.nbytes == encoded_bytes(encoding, *encoded.shape)


def test_arrays_of_another_layout_are_refused() -> None:
    arrays_ = EncodedFeatures.encode(make_features(2), "int8").arrays
    for wrong in (
        {"features": arrays_["features"]},
        arrays_ | {"features": arrays_["features"].astype(np.int16)},
        arrays_ | {"scales": arrays_["scales"][:1]},
        arrays_ | {"channel_std": arrays_["channel_std"][None]},
    ):
        with pytest.raises(CacheError):
            EncodedFeatures("int8", wrong)
    with pytest.raises(CacheError):
        EncodedFeatures("int4", arrays_)
