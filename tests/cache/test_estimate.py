import tracemalloc

import numpy as np
import pytest

from phreg.cache import EncodedFeatures, TargetRows, bytes_while_reading, estimated_bytes, estimated_objects
from phreg.cache.encodings import LAYOUTS
from phreg.cache.zarr_group import rows_from_objects, rows_to_objects
from tests.cache.examples import make_rows, make_spec


@pytest.mark.parametrize("encoding", sorted(LAYOUTS))
@pytest.mark.parametrize(("rows", "variance"), [(1, False), (32, True), (33, False)])
def test_estimates_are_what_is_written(encoding: str, rows: int, variance: bool) -> None:
    targets, spec = make_rows(rows, encoding, variance=variance), make_spec(encoding, variance=variance)
    assert estimated_objects(spec, rows) == len(rows_to_objects(targets)) + 1  # and the commit record
    assert estimated_bytes(spec, rows) == targets.features.nbytes


@pytest.mark.parametrize("rows", [30, 700])
def test_memory_for_reading_is_what_python_counts(rows: int) -> None:
    spec = make_spec("float16").model_copy(update={"grid_size": (16, 16), "dim": 64})
    features = EncodedFeatures.encode(np.ones((rows, spec.patches, spec.dim), np.float32), spec.encoding)
    boxes, views = np.zeros((rows, 3), np.int64), np.zeros((rows, spec.views, 3), np.int64)
    targets = TargetRows([f"{row}" for row in range(rows)], np.zeros(rows, np.int64), boxes, views, features)
    objects = rows_to_objects(targets)
    rows_from_objects(objects)  # what is imported and cached
    tracemalloc.start()
    try:
        rows_from_objects(objects)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    told = bytes_while_reading(
        spec, rows
    )  # counts the objects, which were there before, not what is returned
    assert 0.9 * told < peak < 1.1 * told
