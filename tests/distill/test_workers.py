"""The collectives between real processes, over gloo."""

from pathlib import Path

import torch
from torch import distributed, multiprocessing

from phreg.distill.workers import Workers

WORLD = 2


def _talk(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=WORLD)
    workers = Workers(rank, WORLD)
    assert workers.sum(torch.tensor([1.0 + rank])).tolist() == [3.0]
    assert workers.broadcast(-1 if rank else 41) == 41
    assert workers.gather(["é", "b"][: rank + 1]) == ["é", "é", "b"]
    assert workers.gather([] if rank else ["x"]) == ["x"]
    assert workers.leads == (rank == 0)
    distributed.destroy_process_group()


def test_workers_agree(tmp_path: Path) -> None:
    multiprocessing.spawn(_talk, (str(tmp_path),), nprocs=WORLD)


def test_one_worker_needs_no_group() -> None:
    alone = Workers()
    assert alone.sum(torch.tensor([2.0])).tolist() == [2.0]
    assert (alone.broadcast(5), alone.gather(["a"])) == (5, ["a"])
