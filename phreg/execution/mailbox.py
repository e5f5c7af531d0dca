"""Progress from a training worker to the driver, over Ray itself.

Worker and driver need share no disk, and nothing is written to object storage for it (a `progress.json`
would be a put every second, and Ray Train's own `report` waits for its controller).
"""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from phreg.distill.progress import StudentProgress
from phreg.errors import TrainingError

EVERY_S = 0.5  # between two messages of a worker


def _box_class() -> type:
    """Made in a function, so that it travels by value: the box's process starts without phreg."""

    class Box:
        def __init__(self) -> None:
            self._latest: dict[str, float] | None = None

        def put(self, message: dict[str, float]) -> None:
            self._latest = message

        def latest(self) -> dict[str, float] | None:
            return self._latest

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
        """Send, unless a message was sent just now. Raises `TrainingError` once the driver is gone.

        So a driver that is interrupted stops its workers by closing the box, and none trains on unheard.
        """
        finished = progress.step == progress.total_steps
        if time.monotonic() - self._sent < EVERY_S and not finished:
            return
        self._sent = time.monotonic()
        try:
            ray.get(self.box.put.remote(asdict(progress)))
        except RayActorError:
            raise TrainingError(
                "The run that asked for this student has ended", remedy="run it again to go on"
            ) from None

    def latest(self) -> StudentProgress | None:
        message = ray.get(self.box.latest.remote())
        return StudentProgress(**message) if message is not None else None

    def close(self) -> None:
        ray.kill(self.box)
