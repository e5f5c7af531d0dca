import dataclasses
import threading
from itertools import islice

import pytest

from phreg.cache import TargetStore
from phreg.distill.batches import BatchPlan
from phreg.distill.job import ShardRef, StudentJob
from phreg.distill.samples import JoinedShard, Samples, open_samples
from phreg.distill.stream import held_out_batches, train_batches
from phreg.errors import MissingTargetsError
from phreg.storage import Folder
from tests.distill.jobs import make_job


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    return make_job(tmp_path_factory.mktemp("world"), shards=6)


@pytest.fixture(scope="module")
def samples(job: StudentJob) -> Samples:
    return open_samples(TargetStore.open(Folder(job.cache_url), job.target_digest), job.train)


def make_plan(samples: Samples, workers: int = 1, batch_size: int = 4) -> BatchPlan:
    return BatchPlan(samples.rows, workers, batch_size, shuffle_shards=1, epochs=2, seed=0)


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_those_of_the_plan(workers: int, samples: Samples) -> None:
    plan = make_plan(samples, workers)
    for rank in range(workers):
        batches = list(train_batches(samples, plan, rank, 0))
        assert len(batches) == plan.total_steps
        for step, batch in enumerate(batches):
            place = plan.place(step)
            planned = plan.worker_epochs(place.epoch)[rank].batch(place.step)
            assert sorted(batch.keys) == sorted(
                f"{samples.refs[row.shard].name}_{row.row:04d}" for row in planned
            )


def test_any_step_can_be_the_first(samples: Samples) -> None:
    plan = make_plan(samples)
    keys = [batch.keys for batch in train_batches(samples, plan, 0, 0)]
    for step in range(1, plan.total_steps, 5):
        assert [batch.keys for batch in train_batches(samples, plan, 0, step)] == keys[step:]


def test_resuming_reads_no_shard_of_the_past(samples: Samples) -> None:
    read: list[str] = []

    def recording(ref: ShardRef) -> JoinedShard:
        read.append(ref.name)
        return samples.read(ref)

    plan = make_plan(samples, batch_size=6)
    watched = dataclasses.replace(samples, read=recording)
    last = plan.total_steps - 1
    list(train_batches(watched, plan, 0, last))
    assert read == [samples.refs[plan.worker_epochs(1)[0].shards[-1]].name]


def test_a_failing_read_fails_the_training_and_ends_its_threads(samples: Samples) -> None:
    def failing(ref: ShardRef) -> JoinedShard:
        raise MissingTargetsError("gone")

    with pytest.raises(MissingTargetsError):
        list(train_batches(dataclasses.replace(samples, read=failing), make_plan(samples), 0, 0))
    assert not [t for t in threading.enumerate() if t.name.startswith("phreg-samples")]


def test_a_stream_left_early_ends_its_threads(samples: Samples) -> None:
    batches = train_batches(samples, make_plan(samples), 0, 0)
    assert len(list(islice(batches, 2))) == 2
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("phreg-samples")]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_held_out_rows_are_shared_out_once_each_and_in_order(workers: int, samples: Samples) -> None:
    count = sum(samples.rows)
    shares = [range(count * rank // workers, count * (rank + 1) // workers) for rank in range(workers)]
    keys = [key for share in shares for batch in held_out_batches(samples, share, 4) for key in batch.keys]
    assert keys == [f"{ref.name}_{row:04d}" for ref in samples.refs for row in range(6)]
