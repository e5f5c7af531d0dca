"""The soak's faults and measurements: a driver in a process of its own, disturbed and looked at from here."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from tests.faults.clusters import alive, kill_node, nodes_of_actors


@dataclass(frozen=True)
class Sample:
    """What the driver holds, `seconds` after the start: resident memory in MiB, and open files."""

    seconds: float
    done: int
    memory: float
    files: int


def look_at(pid: int, seconds: float, done: int) -> Sample:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Sample(seconds, done, memory, len(os.listdir(f"/proc/{pid}/fd")))


def mean(samples: list[Sample], of: str) -> float:
    return sum(getattr(sample, of) for sample in samples) / len(samples)


def growth(samples: list[Sample], of: str) -> float:
    """From the third quarter of the shards to the last."""
    last = samples[-1].done
    quarters = [[s for s in samples if low < s.done / last <= low + 0.25] for low in (0.5, 0.75)]
    return mean(quarters[1], of) - mean(quarters[0], of)


def rate(samples: list[Sample], low: float, high: float) -> float:
    """Shards a second between two shares of all shards."""
    last = samples[-1].done
    part = [s for s in samples if low * last <= s.done <= high * last]
    return (part[-1].done - part[0].done) / max(part[-1].seconds - part[0].seconds, 1e-9)


@dataclass
class Disturber:
    """A random fault from time to time, of a sequence that the seed decides."""

    cluster: Cluster
    rng: random.Random
    every: tuple[float, float] = (3.0, 7.0)
    happened: Counter[str] = field(default_factory=Counter)
    _next: float = 0.0

    def __call__(self) -> None:
        """One, if it is time and its victim is there."""
        if time.monotonic() < self._next:
            return
        kinds: list[Callable[[], bool]] = [self._kill_actor, self._kill_actor, self._replace_node]
        if self.rng.choice(kinds)():
            self._next = time.monotonic() + self.rng.uniform(*self.every)

    def _kill_actor(self) -> bool:
        victims = sorted(pid for pid in nodes_of_actors() if alive(pid))
        if not victims:
            return False
        os.kill(self.rng.choice(victims), signal.SIGKILL)
        self.happened["actors"] += 1
        return True

    def _replace_node(self) -> bool:
        nodes: list[Any] = sorted(self.cluster.worker_nodes, key=lambda node: node.node_id)
        victim = self.rng.choice([node for node in nodes if not hasattr(node, "killed")])
        kill_node(victim)
        victim.killed = True
        self.cluster.add_node(num_cpus=1)
        self.happened["nodes"] += 1
        return True
