"""Rows on their way to the cache: a sample is kept with all its crops or left out with all of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from phreg.cache import EncodedFeatures, TargetRows, TargetSpec
from phreg.data import read_shard
from phreg.generate import Crop, crops_of
from phreg.generate.rows import EncodedBatch, RowStream
from phreg.generate.teacher import Targets
from phreg.types import Quarantined
from tests.generate.worlds import World, make_world
from tests.helpers import write_shard


def crops_in(folder: Path, spec: TargetSpec, samples: int) -> list[Crop]:
    shard = read_shard(str(write_shard(folder / "a.tar", samples)))
    return [crop for sample in shard.samples for crop in crops_of(spec, shard.name, sample)]


def stream(
    world: World,
    crops: list[Crop],
    values: np.ndarray,
    batch: int,
    left_out: tuple[str, ...] = (),
    sure: torch.Tensor | None = None,
) -> tuple[TargetRows, list[Quarantined]]:
    """What is committed of these rows, given in batches."""
    with world.store.writer("a") as writer, RowStream(world.spec, writer) as rows:
        for key in left_out:
            rows.leave_out(key, "not liked")
        for start in range(0, len(crops), batch):
            features = torch.from_numpy(values[start : start + batch])
            targets = Targets(features, None if sure is None else sure[start : start + batch])
            started = EncodedBatch.start(targets, world.spec.encoding) if start else targets
            rows.add(crops[start : start + batch], started)
        quarantined = rows.finish()
        world.store.commit_written(writer, "a", "5" * 64, quarantined)
    return world.store.read("a"), quarantined


@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), 65505.0, -65505.0])
@pytest.mark.parametrize("row", range(6))
@pytest.mark.parametrize("batch", [1, 4])
def test_one_bad_crop_takes_its_sample_and_no_other(tmp_path: Path, bad: float, row: int, batch: int) -> None:
    world = make_world(tmp_path, crops_per_image=2)
    crops = crops_in(tmp_path, world.spec, 3)
    values = np.random.default_rng(0).normal(size=(6, world.spec.patches, world.spec.dim)).astype(np.float32)
    features = values.copy()
    features[row, 1, 2] = bad
    rows, quarantined = stream(world, crops, features, batch)  # a batch may end within a sample
    kept = [i for i in range(6) if i // 2 != row // 2]
    assert [sample.key for sample in quarantined] == [crops[row].key]
    assert rows.keys == [crops[i].key for i in kept]
    assert rows.crops.tolist() == [crops[i].index for i in kept]
    assert rows.boxes.tolist() == [list(crops[i].box) for i in kept]
    assert np.array_equal(rows.features.arrays["features"], values[kept].astype(np.float16))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_sample_whose_variance_is_not_finite_is_left_out(tmp_path: Path, bad: float) -> None:
    world = make_world(tmp_path, variance=True)
    crops = crops_in(tmp_path, world.spec, 3)
    values = np.random.default_rng(0).normal(size=(3, world.spec.patches, world.spec.dim)).astype(np.float32)
    sure = torch.full((3, world.spec.patches), 1e30)  # more than float16 holds: it is float32 always
    sure[1, 2] = bad
    rows, quarantined = stream(world, crops, values, 2, sure=sure)
    assert [sample.key for sample in quarantined] == [crops[1].key]
    assert rows.features.variance().equal(sure[[0, 2]])


def test_the_largest_value_that_fits_is_kept(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    values = np.full((1, world.spec.patches, world.spec.dim), 65504, np.float32)
    assert len(stream(world, crops_in(tmp_path, world.spec, 1), values, 1)[0]) == 1


@pytest.mark.parametrize("left_out", [(), (0,), (1, 3), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("encoding", ["float32", "float16", "bfloat16", "int8"])
def test_rows_are_stored_as_if_encoded_together(
    tmp_path: Path, encoding: str, left_out: tuple[int, ...]
) -> None:
    world = make_world(tmp_path, encoding=encoding)
    crops = crops_in(tmp_path, world.spec, 5)
    values = np.random.default_rng(0).normal(size=(5, world.spec.patches, world.spec.dim)).astype(np.float32)
    rows, _ = stream(world, crops, values, 2, tuple(crops[row].key for row in left_out))
    kept = [row for row in range(5) if row not in left_out]
    assert rows.keys == [crops[row].key for row in kept]
    for name, array in EncodedFeatures.encode(values[kept], encoding).arrays.items():
        assert rows.features.arrays[name].dtype == array.dtype
        assert rows.features.arrays[name].tobytes() == array.tobytes()
