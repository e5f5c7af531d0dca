"""The collectives between real processes, over gloo."""

import platform
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from phreg.distill import state
from phreg.distill.checkpoint import Checkpoint, latest_checkpoint, write_checkpoint
from phreg.distill.workers import Workers
from phreg.errors import TrainingError
from phreg.progress import heard_by
from phreg.storage import Folder

WORLD = 2


def _talk(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORLD)
    workers = Workers(rank, WORLD)
    assert workers.sum(torch.tensor([1.0 + rank])).tolist() == [3.0]
    assert workers.broadcast(-1 if rank else 41) == 41
    assert workers.gather(["é", "b"][: rank + 1]) == ["é", "é", "b"]
    assert workers.gather([] if rank else ["x"]) == ["x"]
    assert workers.leads == (rank == 0)
    assert workers.all(True)
    assert not workers.all(rank == 0)
    distributed.destroy_process_group()


def test_workers_agree(tmp_path: Path) -> None:
    multiprocessing.spawn(_talk, (str(tmp_path),), nprocs=WORLD)


def _choose(rank: int, folder: str) -> None:
    """Another run removes the latest checkpoint when the first worker has read it, and the second has not."""
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORLD)
    store = Folder(folder)
    if rank == 0:
        for step in (5, 10):
            write_checkpoint(store, Checkpoint(step, {}, {}, "", 0.0))

        def read_then_lose(folder: Folder) -> Checkpoint | None:
            checkpoint = latest_checkpoint(folder)
            folder.remove("checkpoints/step-000000010.ckpt")
            return checkpoint

        state.latest_checkpoint = read_then_lose
    state.PAUSE_S = 0.0
    chosen = state._common_checkpoint(store, Workers(rank, WORLD))
    assert chosen is not None
    assert chosen.step == 5
    distributed.destroy_process_group()


def test_workers_go_on_from_one_checkpoint(tmp_path: Path) -> None:
    multiprocessing.spawn(_choose, (str(tmp_path),), nprocs=WORLD)


def _look(rank: int, folder: str) -> None:
    """The second worker's output folder is on a disk of its own."""
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORLD)
    own = Folder(f"{folder}/disk-{rank}")
    if rank == 0:
        write_checkpoint(own, Checkpoint(5, {}, {}, "", 0.0))
    pauses: list[float] = []
    state.time.sleep = pauses.append
    said: list[str] = []
    with heard_by(lambda progress: said.append(progress.what)), pytest.raises(TrainingError) as caught:
        state._common_checkpoint(own, Workers(rank, WORLD))
    assert pauses == [state.PAUSE_S] * (state.LOOKS - 1)
    assert len(said) == len(pauses)
    assert all("step 5 is not seen by worker 2 of 2" in line for line in said)
    assert "disk-" in caught.value.problem
    assert "step-000000005.ckpt" in caught.value.problem
    assert f"worker 1 of 2 on {platform.node()}" in caught.value.expected
    assert f"worker 2 of 2 on {platform.node()}" in caught.value.found
    assert "worker 1" not in caught.value.found
    assert "mounted on all nodes" in caught.value.remedy
    distributed.destroy_process_group()


def test_a_checkpoint_that_one_worker_never_sees_ends_the_training_of_all(tmp_path: Path) -> None:
    multiprocessing.spawn(_look, (str(tmp_path),), nprocs=WORLD)


def _late(rank: int, folder: str) -> None:
    """The second worker's mount shows the checkpoint some seconds later."""
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORLD)
    own = Folder(f"{folder}/disk-{rank}")
    if rank == 0:
        write_checkpoint(own, Checkpoint(5, {}, {}, "", 0.0))
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if rank == 1 and len(pauses) == 2:
            write_checkpoint(own, Checkpoint(5, {}, {}, "", 0.0))

    state.time.sleep = sleep
    chosen = state._common_checkpoint(own, Workers(rank, WORLD))
    assert chosen is not None
    assert chosen.step == 5
    assert len(pauses) == 2
    distributed.destroy_process_group()


def test_a_checkpoint_that_is_seen_late_is_waited_for(tmp_path: Path) -> None:
    multiprocessing.spawn(_late, (str(tmp_path),), nprocs=WORLD)


def test_one_worker_needs_no_group() -> None:
    alone = Workers()
    assert alone.all(True)
    assert not alone.all(False)
    assert alone.sum(torch.tensor([2.0])).tolist() == [2.0]
    assert (alone.broadcast(5), alone.gather(["a"])) == (5, ["a"])
