from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phreg.distill.batches import BatchPlan, Row
from phreg.errors import ConfigError


@st.composite
def plans(draw: st.DrawFn) -> BatchPlan:
    """Any row counts, of few and of many shards; as many workers as have a batch each."""
    rows = tuple(draw(st.lists(st.integers(0, 9) | st.integers(0, 60), min_size=1, max_size=12).filter(any)))
    batch_size = draw(st.integers(1, 7))
    return BatchPlan(
        rows=rows,
        workers=draw(st.integers(1, max(sum(rows) // batch_size, 1))),
        batch_size=batch_size,
        shuffle_shards=draw(st.integers(1, 5)),
        epochs=draw(st.sampled_from([0.01, 0.3, 1, 1.5, 2, 3.25])),
        seed=draw(st.integers(0, 3)),
    )


def rows_of(plan: BatchPlan, epoch: int, rank: int) -> list[Row]:
    work = plan.worker_epochs(epoch)[rank]
    return list(chain.from_iterable(work.batch(step) for step in range(work.steps)))


def seen_in(plan: BatchPlan, epoch: int) -> list[Row]:
    return list(chain.from_iterable(rows_of(plan, epoch, rank) for rank in range(plan.workers)))


@given(plans(), st.integers(0, 4))
def test_an_epoch_gives_each_row_at_most_once_and_leaves_out_less_than_a_batch_a_worker(
    plan: BatchPlan, epoch: int
) -> None:
    seen = seen_in(plan, epoch)
    assert len(seen) == len(set(seen))
    assert all(0 <= row.row < plan.rows[row.shard] for row in seen)
    assert 0 <= sum(plan.rows) - len(seen) < plan.workers * plan.batch_size


@given(plans(), st.integers(0, 4))
def test_all_workers_make_the_same_steps_of_whole_batches(plan: BatchPlan, epoch: int) -> None:
    size = min(plan.batch_size, sum(plan.rows))
    for work in plan.worker_epochs(epoch):
        assert work.steps == plan.steps_per_epoch
        assert {len(work.batch(step)) for step in range(work.steps)} == {size}


@pytest.mark.parametrize(
    ("rows", "workers", "seen"),
    [((1000,) * 7, 4, 6976), ((1000,) * 15, 8, 14976), ((*[1000] * 7, 50), 8, 7040)],
)
def test_unequal_hands_cost_no_data(rows: tuple[int, ...], workers: int, seen: int) -> None:
    """Dealt as whole shards, these saw 3,968, 7,936 and 384 of their rows."""
    plan = BatchPlan(rows, workers, batch_size=16, shuffle_shards=4, epochs=1, seed=0)
    for epoch in range(2):
        found = seen_in(plan, epoch)
        assert len(found) == len(set(found)) == seen
    assert plan.total_steps * workers * 16 == seen
    assert plan.epochs_after(plan.total_steps - 1) == seen / sum(rows)


@given(plans(), st.integers(0, 4))
def test_a_worker_reads_the_shards_of_its_rows_and_no_others(plan: BatchPlan, epoch: int) -> None:
    readers: Counter[int] = Counter()
    for rank, work in enumerate(plan.worker_epochs(epoch)):
        assert {row.shard for row in rows_of(plan, epoch, rank)} == set(work.shards)
        assert len(work.shards) == len(set(work.shards))
        readers.update(work.shards)
    assert readers.total() <= sum(count > 0 for count in plan.rows) + plan.workers - 1


@given(plans(), st.integers(0, 4))
def test_a_stretch_is_of_few_shards_and_slides_by_one(plan: BatchPlan, epoch: int) -> None:
    for work in plan.worker_epochs(epoch):
        shards = [set(rows[:, 0].tolist()) for rows in work.between(0, work.steps)]
        assert all(len(together) <= plan.shuffle_shards for together in shards)
        places = [{work.shards.index(shard) for shard in together} for together in shards]
        assert all(place >= number for number, here in enumerate(places) for place in here)
        assert len(shards) == max(len(work.shards) - plan.shuffle_shards, 0) + 1


@given(plans(), st.data())
def test_what_is_left_of_a_training_is_the_same_from_any_step_on(
    plan: BatchPlan, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, plan.workers - 1))
    first = data.draw(st.integers(0, plan.total_steps - 1))
    whole = np.concatenate(list(plan.stretches(rank, 0)))
    left = np.concatenate(list(plan.stretches(rank, first)))
    assert len(whole) == plan.total_steps * plan.rows_per_batch
    assert np.array_equal(left, whole[first * plan.rows_per_batch :])
    place = plan.place(first)
    batch = plan.worker_epochs(place.epoch)[rank].batch(place.step)
    assert [Row(*pair) for pair in left[: plan.rows_per_batch].tolist()] == batch


@given(plans())
@example(BatchPlan(rows=(15,), workers=1, batch_size=1, shuffle_shards=1, epochs=0.3, seed=0))
def test_total_steps_follow_the_epochs(plan: BatchPlan) -> None:
    whole, steps = int(plan.epochs), plan.steps_per_epoch
    assert plan.total_steps == max(steps * whole + round(steps * (plan.epochs - whole)), 1)


@given(plans())
def test_the_epochs_told_are_the_passes_over_the_data(plan: BatchPlan) -> None:
    seen = 0
    for step in range(plan.total_steps):
        place = plan.place(step)
        seen += sum(len(work.batch(place.step)) for work in plan.worker_epochs(place.epoch))
        assert plan.epochs_after(step) == seen / sum(plan.rows)


@pytest.mark.parametrize("rows", [(20,), (20, 20, 20)])
def test_epochs_and_seeds_differ_in_order(rows: tuple[int, ...]) -> None:
    plan = BatchPlan(rows=rows, workers=1, batch_size=5, shuffle_shards=2, epochs=2, seed=0)
    other = BatchPlan(rows=rows, workers=1, batch_size=5, shuffle_shards=2, epochs=2, seed=1)
    orders = [rows_of(plan, 0, 0), rows_of(plan, 1, 0), rows_of(other, 0, 0)]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


def test_every_row_sits_out_as_often_as_others() -> None:
    """10 rows of 21 are left out of each epoch: of 400 epochs 190 are expected, sd 10."""
    plan = BatchPlan(rows=(3, 9, 9), workers=1, batch_size=11, shuffle_shards=2, epochs=400, seed=0)
    seen = Counter(row for epoch in range(400) for row in rows_of(plan, epoch, 0))
    assert len(seen) == 21
    assert min(400 - count for count in seen.values()) > 140
    assert max(400 - count for count in seen.values()) < 240


def test_batches_mix_the_shards_that_are_shuffled_together() -> None:
    plan = BatchPlan(rows=(1000,) * 20, workers=1, batch_size=64, shuffle_shards=4, epochs=1, seed=0)
    work = plan.worker_epochs(0)[0]
    assert {len({row.shard for row in work.batch(step)}) for step in range(0, work.steps, 10)} <= {4, 5}


@pytest.mark.parametrize("workers", [1, 2])
def test_shards_smaller_than_a_batch_are_all_used(workers: int) -> None:
    plan = BatchPlan(rows=(1,) * 64, workers=workers, batch_size=16, shuffle_shards=4, epochs=1, seed=0)
    assert len(set(seen_in(plan, 0))) == 64


def test_more_workers_than_shards_share_them() -> None:
    plan = BatchPlan(rows=(100,), workers=3, batch_size=8, shuffle_shards=4, epochs=1, seed=0)
    assert [work.shards for work in plan.worker_epochs(0)] == [(0,)] * 3
    assert len(set(seen_in(plan, 0))) == 96


@pytest.mark.parametrize(
    ("rows", "workers", "remedy"),
    [
        ((9, 6), 2, "training.workers to 1, or the student's batch_size to at most 7"),
        ((9, 30), 5, "training.workers to 4, or the student's batch_size to at most 7"),
        ((1, 1), 3, "training.workers to 1"),
        ((0, 0), 1, "generate"),
        ((), 2, "generate"),
    ],
)
def test_too_few_rows_for_a_batch_each_are_refused(rows: tuple[int, ...], workers: int, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BatchPlan(rows, workers, batch_size=8, shuffle_shards=1, epochs=1, seed=0)
    assert remedy in caught.value.remedy


def test_the_order_is_pinned() -> None:
    """Weights depend on it: a change of it must be a new format version of the job."""
    plan = BatchPlan(rows=(3, 0, 2, 4), workers=2, batch_size=2, shuffle_shards=2, epochs=2, seed=7)
    orders = [[tuple(row) for row in rows_of(plan, epoch, rank)] for epoch in (0, 1) for rank in (0, 1)]
    assert orders == [
        [(3, 0), (3, 2), (3, 1), (3, 3)],
        [(0, 1), (0, 0), (0, 2), (2, 1)],
        [(0, 2), (3, 3), (0, 1), (0, 0)],
        [(2, 0), (3, 1), (3, 0), (3, 2)],
    ]
