"""The workers of one training run, and the little they tell each other."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Workers:
    """This worker's rank among `world`; a world of 1 needs no process group."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        """Whether this is the worker that writes."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """For people: `worker 1 of 4 on node-b`."""
        return f"worker {self.rank + 1} of {self.world} on {platform.node()}"

    def sum(self, values: Tensor) -> Tensor:
        """The sum over workers, in place; the same bits on all of them, run after run."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def broadcast(self, number: int) -> int:
        """The first worker's number."""
        if self.world == 1:
            return number
        value = torch.tensor([number], dtype=torch.int64, device=self.device)
        distributed.broadcast(value, 0)
        return int(value.item())

    def all(self, true: bool) -> bool:
        """Whether it is true for every worker."""
        return int(self.sum(torch.tensor([int(true)], device=self.device)).item()) == self.world

    def gather(self, lines: Sequence[str]) -> list[str]:
        """The lines of all workers, in the order of their ranks (as JSON: nothing is unpickled)."""
        if self.world == 1:
            return list(lines)
        data = torch.frombuffer(bytearray(json.dumps(list(lines)).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.world)]
        distributed.all_gather(sizes, torch.tensor([len(data)], device=self.device))
        padded = torch.zeros(int(max(sizes)), dtype=torch.uint8, device=self.device)
        padded[: len(data)] = data.to(self.device)
        texts = [torch.zeros_like(padded) for _ in range(self.world)]
        distributed.all_gather(texts, padded)
        parts = [t[: int(n)].cpu().numpy().tobytes() for t, n in zip(texts, sizes, strict=True)]
        return [line for part in parts for line in json.loads(part)]
