from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phreg.distill.batches import BatchPlan, Row
from phreg.errors import ConfigError


@st.composite
def plans(draw: st.DrawFn) -> BatchPlan:
    rows = tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)))
    return BatchPlan(
        rows=rows,
        workers=draw(st.integers(1, sum(count > 0 for count in rows))),
        batch_size=draw(st.integers(1, 7)),
        shuffle_shards=draw(st.integers(1, 4)),
        epochs=draw(st.sampled_from([0.01, 0.3, 1, 1.5, 2, 3.25])),
        seed=draw(st.integers(0, 3)),
    )


def rows_of(plan: BatchPlan, epoch: int, rank: int) -> list[Row]:
    work = plan.worker_epochs(epoch)[rank]
    return list(chain.from_iterable(work.batch(step) for step in range(work.steps)))


@given(plans(), st.integers(0, 4))
def test_an_epoch_gives_each_row_at_most_once_and_none_to_two_workers(plan: BatchPlan, epoch: int) -> None:
    seen = list(chain.from_iterable(rows_of(plan, epoch, rank) for rank in range(plan.workers)))
    assert len(seen) == len(set(seen))
    assert all(0 <= row.row < plan.rows[row.shard] for row in seen)


@given(plans(), st.integers(0, 4))
def test_the_shortest_worker_leaves_out_less_than_a_batch(plan: BatchPlan, epoch: int) -> None:
    works = plan.worker_epochs(epoch)
    assert len({work.steps for work in works}) == 1
    counts = [sum(plan.rows[shard] for shard in work.shards) for work in works]
    seen = [len(rows_of(plan, epoch, rank)) for rank in range(plan.workers)]
    if min(counts) >= plan.batch_size:
        assert set(seen) == {works[0].steps * plan.batch_size}
        assert min(counts) - seen[0] < plan.batch_size
    else:
        assert seen == [min(count, plan.batch_size) for count in counts]


@given(plans(), st.integers(0, 4))
def test_every_filled_shard_is_dealt_once(plan: BatchPlan, epoch: int) -> None:
    dealt = sorted(chain.from_iterable(work.shards for work in plan.worker_epochs(epoch)))
    assert dealt == [shard for shard, count in enumerate(plan.rows) if count]
    sizes = [len(work.shards) for work in plan.worker_epochs(epoch)]
    assert max(sizes) - min(sizes) <= 1


@given(plans(), st.integers(0, 2))
def test_a_batch_needs_the_shards_of_its_windows_only(plan: BatchPlan, epoch: int) -> None:
    for work in plan.worker_epochs(epoch):
        for step in range(work.steps):
            windows = work.windows(step)
            held = set(chain.from_iterable(work.window_shards(window) for window in windows))
            assert {row.shard for row in work.batch(step)} <= held
            assert all(len(work.window_shards(window)) <= plan.shuffle_shards for window in windows)


@given(plans())
def test_a_step_found_directly_is_the_step_of_a_replay(plan: BatchPlan) -> None:
    replay = [(epoch, step) for epoch in range(5) for step in range(plan.worker_epochs(epoch)[0].steps)][
        : plan.total_steps
    ]
    assert [plan.place(step) for step in range(plan.total_steps)] == replay


@given(plans())
@example(BatchPlan(rows=(15,), workers=1, batch_size=1, shuffle_shards=1, epochs=0.3, seed=0))
def test_total_steps_follow_the_epochs(plan: BatchPlan) -> None:
    whole = int(plan.epochs)
    steps = [plan.worker_epochs(epoch)[0].steps for epoch in range(whole + 1)]
    assert plan.total_steps == max(sum(steps[:whole]) + round(steps[whole] * (plan.epochs - whole)), 1)
    if plan.epochs == whole:
        assert plan.epochs_after(plan.total_steps - 1) == plan.epochs


@pytest.mark.parametrize("rows", [(20,), (20, 20, 20)])
def test_epochs_and_seeds_differ_in_order(rows: tuple[int, ...]) -> None:
    plan = BatchPlan(rows=rows, workers=1, batch_size=5, shuffle_shards=2, epochs=2, seed=0)
    other = BatchPlan(rows=rows, workers=1, batch_size=5, shuffle_shards=2, epochs=2, seed=1)
    orders = [rows_of(plan, 0, 0), rows_of(plan, 1, 0), rows_of(other, 0, 0)]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


@pytest.mark.parametrize(("rows", "remedy"), [((4, 0), "training.workers to 1"), ((0, 0), "generate")])
def test_more_workers_than_shards_is_refused(rows: tuple[int, ...], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        BatchPlan(rows=rows, workers=2, batch_size=1, shuffle_shards=1, epochs=1, seed=0)
