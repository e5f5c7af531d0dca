"""Held-out crops: the same batches each time, and no more of them in memory than there may be."""

from dataclasses import replace

import pytest
import torch

from phreg.cache import TargetStore
from phreg.distill.held_out import HeldOutBatches
from phreg.distill.job import ShardRef
from phreg.distill.samples import JoinedShard, Samples, open_samples
from phreg.distill.workers import Workers
from phreg.storage import Folder
from tests.distill.jobs import make_job


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Twelve crops in two shards of six."""
    job = make_job(tmp_path_factory.mktemp("world"), shards=2)
    return open_samples(TargetStore.open(Folder(job.cache_url), job.target_digest), job.train)


@pytest.mark.parametrize(
    ("kept", "read_again"),
    [(0, ["photos-000", "photos-001"]), (2, ["photos-001"]), (1, ["photos-000", "photos-001"]), (99, [])],
)
def test_what_fits_is_decoded_once_and_the_batches_are_the_same(
    kept: int, read_again: list[str], samples: Samples
) -> None:
    """Batches of four and two, of each shard; so many of the larger have room."""
    read: list[str] = []

    def counted(ref: ShardRef) -> JoinedShard:
        read.append(ref.name)
        return samples.read(ref)

    held_out = HeldOutBatches.of(replace(samples, read=counted), 4, Workers(), 99)
    first = list(held_out.batches())
    assert [len(batch) for batch in first] == [4, 2, 4, 2]
    held_out = HeldOutBatches(held_out.samples, held_out.share, 12, 4, keep=kept * first[0].nbytes)
    for _ in range(2):
        read.clear()
        again = list(held_out.batches())
        assert [batch.keys for batch in again] == [batch.keys for batch in first]
        assert all(torch.equal(a.crops, b.crops) for a, b in zip(again, first, strict=True))
    assert read == read_again


@pytest.mark.parametrize(("most", "used"), [(99, 12), (12, 12), (7, 7), (2, 2)])
def test_workers_share_the_first_of_them(most: int, used: int, samples: Samples) -> None:
    every = [key for batch in HeldOutBatches.of(samples, 4, Workers(), 99).batches() for key in batch.keys]
    keys = [
        key
        for rank in range(3)
        for batch in HeldOutBatches.of(samples, 4, Workers(rank, 3), most).batches()
        for key in batch.keys
    ]
    assert keys == every[:used]
