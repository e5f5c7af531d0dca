"""Is the cluster's head still there? Ray waits a minute for it, then ends the process without a word."""

import socket
import time
from collections.abc import Callable

import ray

from phreg.errors import ClusterError

EVERY_S = 2.0  # between two looks
PATIENCE_S = 30.0  # a head that is back by then (some are restarted) is the same cluster
_TCP_TIMEOUT_S = 2.0


class HeadWatch:
    """Looks from time to time, and gives up while there is still time to say so.

    While the head is away, actors at work go on, but none can be asked for, and questions about the cluster
    (`ray.nodes`) do not come back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = ray.get_runtime_context().gcs_address
        self._clock = clock
        self._due = self._seen = clock()
        self.there = True

    def check(self) -> bool:
        """Whether the head is there. Raises `ClusterError` once it has been away for too long."""
        now = self._clock()
        if self._due <= now or not self.there:
            self._due, self.there = now + EVERY_S, answers(self._address)
        if self.there:
            self._seen = now
        elif now - self._seen > PATIENCE_S:
            raise _lost(self._address, now - self._seen)
        return self.there

    def wait(self) -> None:
        """Until the head is there. Raises `ClusterError`."""
        while not self.check():
            time.sleep(EVERY_S / 10)


def answers(address: str) -> bool:
    """Whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _TCP_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _lost(address: str, seconds: float) -> ClusterError:
    return ClusterError(
        "The head of the Ray cluster is gone",
        expected=f"an answer at {address}",
        found=f"none for {seconds:.0f} s",
        remedy="start a cluster and run the same command again: what is committed is kept",
    )
