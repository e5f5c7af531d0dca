"""Is the cluster large enough for what is asked of it? Ray itself would wait for ever."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import ray
from ray._private.worker import global_worker

from phreg.errors import ConfigError
from phreg.execution.watch import ClusterWatch

EVERY_S = 5.0  # between two looks at the nodes


class CapacityCheck:
    """Watches whether all nodes together can hold `count` times these resources, each on one node.

    How much of them is in use does not matter: that is waited for. A Ray that this process started grows no
    more. A cluster that it joined may: what waits in Ray is what its autoscaler goes by, so ask Ray first,
    and `check` while waiting. `option` names the config's options that ask for so much.
    """

    def __init__(
        self,
        resources: Mapping[str, float],
        count: int,
        what: str,
        option: str,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resources = {name: each for name, each in resources.items() if each}
        self._count, self._what, self._option = count, what, option
        self._patience = patience_s if may_grow() else 0.0
        self._clock = clock
        self._enough_at = self._due = clock()

    def check(self) -> None:
        """Raise `ConfigError` if the cluster is too small, and was for `patience_s` if it may grow."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + EVERY_S
        nodes = _nodes()
        if _held_by(nodes, self._resources) >= self._count:
            self._enough_at = now
        elif now - self._enough_at >= self._patience:
            raise self._too_small(nodes)

    def _too_small(self, nodes: list[dict[str, float]]) -> ConfigError:
        kinds = Counter(resource_words(node) for node in nodes)
        after = f" after {self._patience:g} s" if self._patience else ""
        return ConfigError(
            f"The cluster has no room for {self._what}{after}",
            expected=f"{self._count} x {resource_words(self._resources)}, each on one node",
            found="nodes of " + "; ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items())),
            remedy=f"ask for less ({self._option}), or add nodes",
        )


class Room:
    """How many pieces of work a cluster has room for at once, each of `count` times these resources.

    As with `CapacityCheck`, what is in use does not matter.
    """

    def __init__(self, resources: Mapping[str, float], count: int) -> None:
        self._resources = {name: each for name, each in resources.items() if each}
        self._count, self._watch = count, ClusterWatch()
        self._due, self._places = time.monotonic(), 1

    def places(self) -> int:
        """As of some seconds ago at most. Raises `ClusterError` if the cluster is lost."""
        if self._watch.check() and self._due <= time.monotonic():
            self._due = time.monotonic() + EVERY_S
            self._places = _held_by(_nodes(), self._resources) // self._count
        return self._places


def _nodes() -> list[dict[str, float]]:
    """The resources of each."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _held_by(nodes: Iterable[Mapping[str, float]], resources: Mapping[str, float]) -> int:
    """How many times the resources fit, each time on one node."""
    return sum(
        min(int(node.get(name, 0) / each + 1e-9) for name, each in resources.items()) for node in nodes
    )


def may_grow() -> bool:
    """Whether nodes may join: not where this process started Ray for itself."""
    return global_worker.node is None or not global_worker.node.head


def resource_words(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
