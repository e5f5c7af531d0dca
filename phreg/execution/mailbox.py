"""What a training tells its driver, over Ray itself: how far it is, and the place that its workers hold.

Worker and driver need share no disk, and nothing is written to object storage for it (a `progress.json`
would be a put every second, and Ray Train's own `report` waits for its controller).
"""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from phreg.distill.progress import StudentProgress

EVERY_S = 0.5  # between two messages of a worker


def _box_class() -> type:
    """Made in a function, so that it travels by value: the box's process starts without phreg."""

    class Box:
        def __init__(self) -> None:
            self._held: dict[str, Any] = {}

        def put(self, name: str, value: Any) -> None:
            self._held[name] = value

        def get(self, name: str) -> Any:
            return self._held.get(name)

    return Box


@dataclass
class Mailbox:
    """A handle to the driver's box; picklable."""

    box: Any
    _sent: float = field(default=0.0, repr=False)

    @staticmethod
    def open() -> "Mailbox":
        """A box on this node: it lives as long as the driver does."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return Mailbox(ray.remote(_box_class()).options(num_cpus=0, scheduling_strategy=here).remote())

    def send(self, progress: StudentProgress) -> None:
        """Send, unless a message was sent just now. A box that is gone is no reason to stop training."""
        finished = progress.step == progress.total_steps
        if time.monotonic() - self._sent < EVERY_S and not finished:
            return
        self._sent = time.monotonic()
        with suppress(RayActorError):
            ray.get(self.box.put.remote("progress", asdict(progress)))

    def latest(self) -> StudentProgress | None:
        """The last message; None before the first, and if the box was lost."""
        message = self._held("progress")
        return StudentProgress(**message) if message is not None else None

    def keep_place(self) -> WorkerGroupCallback:
        """For Ray Train: has its controller note here where it put its workers."""
        box = self.box

        class KeepPlace(WorkerGroupCallback):
            def after_worker_group_start(self, worker_group: Any) -> None:
                place = worker_group.get_worker_group_state().placement_group_handle.placement_group
                ray.get(box.put.remote("place", place))

        return KeepPlace()

    def free_place(self) -> None:
        """Give the workers' place back: a killed controller cannot, and Ray waits for the driver's end."""
        place = self._held("place")
        if place is not None:
            ray.util.remove_placement_group(place)

    def close(self) -> None:
        ray.kill(self.box)

    def _held(self, name: str) -> Any:
        with suppress(RayActorError):
            return ray.get(self.box.get.remote(name))
        return None
