import pytest
import torch

from phreg.fingerprint import canonical_json, digest_json, digest_weights


def test_canonical_json_ignores_order() -> None:
    assert canonical_json({"b": 1, "a": [1, 2]}) == b'{"a":[1,2],"b":1}'
    assert digest_json({"b": 1, "a": 2}) == digest_json({"a": 2, "b": 1})


def test_nan_has_no_digest() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_json({"x": float("nan")})


def test_weights_digest_sees_names_shapes_dtypes_and_values() -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    digest = digest_weights(weights)
    assert digest == digest_weights(dict(reversed(weights.items())))
    changed = [
        {"a2": weights["a"], "b": weights["b"]},
        weights | {"a": weights["a"].reshape(3, 2)},
        weights | {"b": weights["b"].half()},
        weights | {"a": weights["a"] + torch.tensor([1e-7, 0, 0])},
    ]
    assert all(digest != digest_weights(other) for other in changed)
    assert digest == digest_weights(weights | {"a": weights["a"].T.contiguous().T})
