"""What a worker holds is what was told before the run."""

import dataclasses
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest

from phreg.cache import EncodedFeatures, TargetRows, TargetSpec, TargetStore
from phreg.data import measure_shard, read_shard
from phreg.distill.batches import BatchPlan
from phreg.distill.job import ShardRef, StudentJob
from phreg.distill.memory import memory_of_data, shard_bytes_held
from phreg.distill.samples import JoinedShard, Samples, open_samples
from phreg.distill.stream import train_batches
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.helpers import write_shard

SHARDS = 8


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    return make_job(tmp_path_factory.mktemp("world"), shards=SHARDS, images=5)


@pytest.fixture(scope="module")
def store(job: StudentJob) -> TargetStore:
    return TargetStore.open(Folder(job.cache_url), job.target_digest)


@pytest.fixture(scope="module")
def samples(job: StudentJob, store: TargetStore) -> Samples:
    return open_samples(store, job.train)


def image_bytes(job: StudentJob) -> list[int]:
    return [measure_shard(ref.url).image_bytes for ref in job.train]


def nbytes(shard: JoinedShard) -> int:
    return shard.targets.features.nbytes + sum(map(len, shard.images))


@pytest.mark.parametrize(
    ("together", "batch_size", "workers"), [(1, 4, 1), (3, 4, 1), (3, 16, 1), (4, 3, 2), (99, 4, 1)]
)
def test_no_more_shards_are_held_than_planned(
    together: int, batch_size: int, workers: int, job: StudentJob, samples: Samples, store: TargetStore
) -> None:
    """Shards smaller than a batch, batches across epochs, more shards together than there are."""
    alive: weakref.WeakSet[JoinedShard] = weakref.WeakSet()
    counts, sizes = [0], [0]

    def watched(ref: ShardRef) -> JoinedShard:
        shard = samples.read(ref)
        alive.add(shard)
        counts.append(len(alive))
        sizes.append(sum(map(nbytes, alive)))
        return shard

    plan = BatchPlan(samples.rows, workers, batch_size, together, epochs=3, seed=0)
    for rank in range(workers):
        for _ in train_batches(dataclasses.replace(samples, read=watched), plan, rank, 0):
            pass
    assert plan.most_shards_held == min(together + 1, SHARDS)
    assert min(together, SHARDS) <= max(counts) <= plan.most_shards_held  # a reader may be late with the last
    expected = shard_bytes_held(plan, store.spec, image_bytes(job))
    assert max(sizes) <= expected
    assert max(sizes) > 0.9 * expected * max(counts) / plan.most_shards_held  # the largest need not meet


def large_samples(folder: Path, spec: TargetSpec, shards: int, rows: int) -> tuple[TargetStore, Samples]:
    """Shards of 4 MB of targets, beside which little else matters."""
    large = spec.model_copy(update={"grid_size": (16, 16), "dim": 256})
    store = TargetStore.create(Folder(str(folder / "cache")), large)
    refs = []
    for number in range(shards):
        shard = read_shard(str(write_shard(folder / f"large-{number}.tar", rows, number)))
        features = np.full((rows, large.patches, large.dim), number, np.float32)
        boxes, views = np.full((rows, 3), 8), np.zeros((rows, large.views, 3), np.int64)
        targets = TargetRows(
            [sample.key for sample in shard.samples], np.zeros(rows, np.int64), boxes, views,
            EncodedFeatures.encode(features, large.encoding),
        )  # fmt: skip
        store.commit(shard.name, shard.digest, targets)
        refs.append(ShardRef(shard.name, shard.url, shard.digest))
    return store, open_samples(store, refs)


def test_the_memory_told_is_what_python_counts(tmp_path: Path, store: TargetStore) -> None:
    large, samples = large_samples(tmp_path, store.spec, shards=6, rows=30)
    plan = BatchPlan(samples.rows, 1, batch_size=2, shuffle_shards=2, epochs=2, seed=0)
    told = memory_of_data(plan, large.spec, [measure_shard(ref.url).image_bytes for ref in samples.refs])
    for _ in train_batches(samples, plan, 0, plan.total_steps - 1):
        pass  # what is imported and cached
    tracemalloc.start()
    try:
        for _ in train_batches(samples, plan, 0, 0):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.8 * told < peak < 1.1 * told


def test_a_large_shard_of_vit_b_at_518_pixels(store: TargetStore) -> None:
    """Two windows of four shards, and three across a border, took 17 to 25 GB; five take 11, and
    reading one of them 2.7."""
    spec: TargetSpec = store.spec.model_copy(
        update={"image_size": 518, "grid_size": (37, 37), "dim": 768, "encoding": "float16"}
    )
    plan = BatchPlan((1000,) * 12, workers=1, batch_size=16, shuffle_shards=4, epochs=1, seed=0)
    images = [100_000_000] * 12
    shard = 1000 * 37 * 37 * 768 * 2 + 100_000_000
    assert shard_bytes_held(plan, spec, images) == 5 * shard
    assert 13e9 < memory_of_data(plan, spec, images) < 14e9
