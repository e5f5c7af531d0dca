"""Is the cluster still there? Ray waits a minute for a lost head, then ends the process without a word; and
a driver whose own node is lost, it leaves waiting for ever."""

import socket
import time
from collections.abc import Callable

import ray
from ray._private.worker import global_worker

from phreg.errors import ClusterError
from phreg.stopping import check_stop

EVERY_S = 5.0  # between two looks, each of which the node notes in its log
PATIENCE_S = 30.0  # a head that is back by then (some are restarted) is the same cluster
_TIMEOUT_S = 2.0


class ClusterWatch:
    """Looks from time to time at the head and at this machine's own node of a cluster.

    While the head is away, actors at work go on, but none can be asked for, and questions about the cluster
    (`ray.nodes`) do not come back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._head = ray.get_runtime_context().gcs_address
        self._node: str | None = global_worker.node.raylet_socket_name if global_worker.node else None
        self._clock = clock
        self._due = self._seen = clock()
        self._there = True

    def check(self) -> bool:
        """Whether the head is there. Raises `ClusterError` once it has been away for too long, and if the
        node is gone, for good."""
        now = self._clock()
        if self._due <= now or not self._there:
            self._due, self._there = now + EVERY_S, answers(self._head)
            if self._node is not None and not answers(self._node):
                raise _lost("This machine's own Ray node is gone", self._node)
        if self._there:
            self._seen = now
        elif now - self._seen > PATIENCE_S:
            raise _lost("The head of the Ray cluster is gone", self._head, f" for {now - self._seen:.0f} s")
        return self._there

    def wait(self) -> None:
        """Until the head is there. Raises `ClusterError`."""
        while not self.check():
            check_stop()
            time.sleep(0.5)


def answers(place: str) -> bool:
    """Whether something listens at HOST:PORT, or at the path of a Unix socket."""
    if place.startswith("/"):
        return _listens(place)
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_TIMEOUT_S)
        try:
            client.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # it is only busy
            return True
    return True


def _lost(problem: str, place: str, time_words: str = "") -> ClusterError:
    return ClusterError(
        problem,
        expected=f"an answer at {place}",
        found=f"none{time_words}",
        remedy="start a cluster and run the same command again: what is committed is kept",
    )
