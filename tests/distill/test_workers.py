"""The collectives between real processes, over gloo."""

from pathlib import Path

import torch
from torch import distributed, multiprocessing

from phreg.distill import state
from phreg.distill.checkpoint import Checkpoint, latest_checkpoint, write_checkpoint
from phreg.distill.workers import Workers
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
    chosen = state._common_checkpoint(store, Workers(rank, WORLD))
    assert chosen is not None
    assert chosen.step == 5
    distributed.destroy_process_group()


def test_workers_go_on_from_one_checkpoint(tmp_path: Path) -> None:
    multiprocessing.spawn(_choose, (str(tmp_path),), nprocs=WORLD)


def test_one_worker_needs_no_group() -> None:
    alone = Workers()
    assert alone.all(True)
    assert not alone.all(False)
    assert alone.sum(torch.tensor([2.0])).tolist() == [2.0]
    assert (alone.broadcast(5), alone.gather(["a"])) == (5, ["a"])
