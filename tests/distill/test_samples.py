import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from phreg.cache import EncodedFeatures, TargetRows, TargetStore
from phreg.data import cut, decode_image, read_shard
from phreg.distill.job import StudentJob
from phreg.distill.samples import join_shard, make_batch, open_samples
from phreg.errors import ContentMismatchError, MissingTargetsError
from phreg.storage import Folder
from phreg.types import Box
from tests.distill.jobs import IMAGE_SIZE, make_job
from tests.helpers import write_shard


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    return make_job(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def store(job: StudentJob) -> TargetStore:
    return TargetStore.open(Folder(job.cache_url), job.target_digest)


def test_a_batch_holds_each_row_s_crop_and_target(job: StudentJob, store: TargetStore) -> None:
    shards = [join_shard(ref, store) for ref in job.train[:2]]
    pairs = [(shards[1], 3), (shards[0], 5), (shards[1], 0)]
    with ThreadPoolExecutor(2) as pool:
        batch = make_batch(pairs, IMAGE_SIZE, pool)
    targets = batch.targets(torch.device("cpu"))
    assert set(batch.keys) == {shard.targets.keys[row] for shard, row in pairs}
    for shard, row in pairs:
        place = batch.keys.index(shard.targets.keys[row])
        assert torch.equal(targets[place], shard.targets.features[[row]].decode()[0])
        box = Box(*(int(side) for side in shard.targets.boxes[row]))
        crop = cut(decode_image(shard.images[row]), box, IMAGE_SIZE)
        assert np.array_equal(batch.crops[place].numpy(), crop)


def test_a_shard_that_changed_is_refused(tmp_path: Path, job: StudentJob, store: TargetStore) -> None:
    other = write_shard(tmp_path / "photos-000.tar", 6, seed=99)
    with pytest.raises(ContentMismatchError, match="changed since"):
        join_shard(dataclasses.replace(job.train[0], url=str(other)), store)


def test_targets_of_other_samples_are_refused(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    store = TargetStore.open(Folder(job.cache_url), job.target_digest)
    shard = read_shard(str(write_shard(tmp_path / "strange.tar", 2, seed=5)))
    whole = store.read(job.train[0].name)
    rows = TargetRows(
        keys=[shard.samples[0].key, "nobody"],
        crops=whole.crops[:2],
        boxes=whole.boxes[:2],
        views=whole.views[:2],
        features=EncodedFeatures.encode(whole.features[[0, 1]].decode().numpy(), "float16"),
    )
    store.commit(shard.name, shard.digest, rows, [])
    with pytest.raises(MissingTargetsError, match="'nobody'"):
        join_shard(
            dataclasses.replace(job.train[0], name="strange", url=shard.url, digest=shard.digest), store
        )


def test_a_shard_without_targets_is_named(job: StudentJob, store: TargetStore) -> None:
    missing = dataclasses.replace(job.train[0], name="photos-999")
    with pytest.raises(MissingTargetsError, match="photos-999"):
        open_samples(store, [*job.train, missing])


def test_rows_are_counted_from_the_records(job: StudentJob, store: TargetStore) -> None:
    assert open_samples(store, job.train).rows == (6, 6, 6)
