import dataclasses

import numpy as np
import pytest

from phreg.cache import EncodedFeatures, TargetRows
from phreg.errors import CacheError, MissingTargetsError
from tests.cache.examples import make_features, make_rows


def changed(rows: TargetRows, **changes: object) -> TargetRows:
    return dataclasses.replace(rows, **changes)


def test_rows_are_found_by_key_and_crop() -> None:
    rows = changed(make_rows(3), keys=["a", "b", "a"], crops=[0, 0, 1])
    assert [rows.row("a", 0), rows.row("b", 0), rows.row("a", 1)] == [0, 1, 2]
    with pytest.raises(MissingTargetsError, match="crop 1 of the sample 'b'"):
        rows.row("b", 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": ["a", "b"]},
        {"keys": ["a", "b", "a"]},
        {"keys": ["a", "b", ""]},
        {"keys": ["a", "b", "c\0"]},
        {"keys": ["a", "b", "\ud800"]},
        {"crops": [0, 0]},
        {"crops": [[0], [0], [0]]},
        {"crops": [0, 0, 0.5]},
        {"boxes": np.zeros((3, 4), int)},
        {"boxes": np.full((3, 3), 2**40)},
        {"views": np.zeros((3, 4, 2), int)},
        {"features": EncodedFeatures.encode(make_features(4), "float16")},
    ],
)
def test_rows_that_do_not_fit_together_are_refused(changes: dict) -> None:
    with pytest.raises(CacheError):
        changed(make_rows(3), **changes)
