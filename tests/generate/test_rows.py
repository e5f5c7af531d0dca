"""A sample is kept with all its crops or left out with all of them."""

from pathlib import Path

import numpy as np
import pytest

from phreg.cache import EncodedFeatures
from phreg.data import read_shard
from phreg.generate import crops_of
from phreg.generate.rows import RowCollector
from tests.generate.worlds import make_world
from tests.helpers import write_shard


@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), 65505.0, -65505.0])
@pytest.mark.parametrize("row", range(6))
def test_one_bad_crop_takes_its_sample_and_no_other(tmp_path: Path, bad: float, row: int) -> None:
    spec = make_world(tmp_path, crops_per_image=2).spec
    shard = read_shard(str(write_shard(tmp_path / "a.tar", 3)))
    crops = [crop for sample in shard.samples for crop in crops_of(spec, shard.name, sample)]
    values = np.random.default_rng(0).normal(size=(6, spec.patches, spec.dim)).astype(np.float32)
    features = values.copy()
    features[row, 1, 2] = bad
    collector = RowCollector(spec, len(shard.samples))
    for start in (0, 4):  # a batch that ends within a sample is no matter
        collector.add(crops[start : start + 4], features[start : start + 4])
    rows = collector.rows()
    kept = [i for i in range(6) if i // 2 != row // 2]
    assert [sample.key for sample in collector.quarantined] == [crops[row].key]
    assert rows.keys == [crops[i].key for i in kept]
    assert rows.crops.tolist() == [crops[i].index for i in kept]
    assert rows.boxes.tolist() == [list(crops[i].box) for i in kept]
    assert np.array_equal(rows.features.arrays["features"], values[kept].astype(np.float16))


def test_the_largest_value_that_fits_is_kept(tmp_path: Path) -> None:
    spec = make_world(tmp_path).spec
    shard = read_shard(str(write_shard(tmp_path / "a.tar", 1)))
    collector = RowCollector(spec, 1)
    collector.add(
        crops_of(spec, "a", shard.samples[0]), np.full((1, spec.patches, spec.dim), 65504, np.float32)
    )
    assert len(collector.rows()) == 1


@pytest.mark.parametrize("left_out", [(), (0,), (1, 3)])
@pytest.mark.parametrize("encoding", ["float32", "float16", "bfloat16", "int8"])
def test_rows_are_stored_as_if_encoded_together(
    tmp_path: Path, encoding: str, left_out: tuple[int, ...]
) -> None:
    """They are encoded one by one, where that gives the same bytes, and moved together in place."""
    spec = make_world(tmp_path, encoding=encoding).spec
    shard = read_shard(str(write_shard(tmp_path / "a.tar", 5)))
    crops = [crop for sample in shard.samples for crop in crops_of(spec, shard.name, sample)]
    values = np.random.default_rng(0).normal(size=(5, spec.patches, spec.dim)).astype(np.float32)
    collector = RowCollector(spec, len(shard.samples))
    collector.add(crops, values)
    for row in left_out:
        collector.leave_out(crops[row].key, "not liked")
    kept = [row for row in range(5) if row not in left_out]
    rows = collector.rows()
    assert rows.keys == [crops[row].key for row in kept]
    for name, array in EncodedFeatures.encode(values[kept], encoding).arrays.items():
        assert rows.features.arrays[name].dtype == array.dtype
        assert rows.features.arrays[name].tobytes() == array.tobytes()
