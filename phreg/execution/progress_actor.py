"""What workers and tasks tell their driver as they work, over Ray itself: a small actor holds the last news.

Worker and driver need share no disk, and nothing is written to object storage for it (a `progress.json`
would be a put every second, and Ray Train's own `report` waits for its controller).
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from phreg.distill.progress import StudentProgress
from phreg.execution.question import Question
from phreg.progress import Progress, current_listener

EVERY_S = 0.5  # between two messages about the same work
ANSWER_S = 10.0  # to wait for the actor, where it must answer
News = Progress | StudentProgress
_KINDS: dict[str, type[Progress] | type[StudentProgress]] = {
    kind.__name__: kind for kind in (Progress, StudentProgress)
}
_HELD: dict[str, Any] = {}  # this connection's actor, by the connection
_LOCK = threading.Lock()


def _actor_class() -> type:
    """Made in a function, so that it travels by value: the actor's process starts without phreg."""

    class ProgressActor:
        def __init__(self) -> None:
            self._held: dict[str, Any] = {}

        def put(self, name: str, value: Any) -> None:
            self._held[name] = value

        def get(self, name: str) -> Any:
            return self._held.get(name)

        def forget(self, name: str) -> None:
            self._held.pop(name, None)

    return ProgressActor


def progress_actor() -> Any:
    """This connection's actor, on this node; started if it is not there. Nobody waits for it to be up.

    The handle it was made by is kept as long as the connection: Ray ends an actor once that one is gone,
    whoever else has found it by a name or was passed it.
    """
    context = ray.get_runtime_context()
    # A driver's id follows from its job's number: the next local Ray would give the same.
    connection = f"{context.get_worker_id()} {context.get_node_id()}"
    with _LOCK:
        if connection not in _HELD:
            _HELD.clear()
            here = NodeAffinitySchedulingStrategy(context.get_node_id(), soft=False)
            options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 0}
            _HELD[connection] = (
                ray.remote(_actor_class()).options(scheduling_strategy=here, **options).remote()
            )
        return _HELD[connection]


@dataclass
class ProgressChannel:
    """The driver's side, for one task or training."""

    actor: Any = field(default_factory=progress_actor)
    source: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self._question = Question(lambda: self.actor.get.remote(self.source))

    @property
    def sender(self) -> "ProgressSender":
        return ProgressSender(self.actor, self.source)

    def latest(self) -> Any:
        """The last news that has arrived, without waiting for it; None before the first."""
        return _opened(self._question.answer())

    def last(self) -> Any:
        """The last news there is, once the work is done."""
        return _opened(self._get(self.source))

    def noted(self, name: str) -> Any:
        """What was put under `SOURCE/NAME`; None if it is not there, or was lost with the actor."""
        return self._get(f"{self.source}/{name}")

    def close(self) -> None:
        self.actor.forget.remote(self.source)

    def _get(self, name: str) -> Any:
        with suppress(RayError):
            return ray.get(self.actor.get.remote(name), timeout=ANSWER_S)
        return None


@contextmanager
def channel_if_heard() -> Iterator[ProgressChannel | None]:
    """A channel for a `with` block; none where nobody listens."""
    if current_listener() is None:
        yield None
        return
    channel = ProgressChannel()
    try:
        yield channel
    finally:
        channel.close()


@dataclass
class ProgressSender:
    """The worker's side: a listener that passes on what it hears. Picklable."""

    actor: Any
    source: str
    _what: str = field(default="", repr=False)
    _sent: float = field(default=0.0, repr=False)

    def __call__(self, progress: News) -> None:
        """Send it, unless one about the same was sent just
        now. An actor that is gone is no reason to stop working."""
        now, what = time.monotonic(), progress.what
        if what == self._what and now - self._sent < EVERY_S and not progress.final:
            return
        self._what, self._sent = what, now
        # As plain data: the actor need not know what it means.
        put = self.actor.put.remote(self.source, (type(progress).__name__, asdict(progress)))
        if progress.final:  # a worker may be killed once its work is done
            with suppress(RayError):
                ray.get(put, timeout=ANSWER_S)


def _opened(message: tuple[str, dict[str, Any]] | None) -> News | None:
    if message is None:
        return None
    kind, fields = message
    return _KINDS[kind](**fields)
