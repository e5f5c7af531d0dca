import pytest

from phreg.cache import estimated_bytes, estimated_objects
from phreg.cache.encodings import LAYOUTS
from phreg.cache.zarr_group import rows_to_objects
from tests.cache.examples import make_rows, make_spec


@pytest.mark.parametrize("encoding", sorted(LAYOUTS))
@pytest.mark.parametrize("rows", [1, 32, 33])
def test_estimates_are_what_is_written(encoding: str, rows: int) -> None:
    targets, spec = make_rows(rows, encoding), make_spec(encoding)
    assert estimated_objects(spec, rows) == len(rows_to_objects(targets)) + 1  # and the commit record
    assert estimated_bytes(spec, rows) == targets.features.nbytes
