"""A stage's progress as an artifact, so that Prefect's UI shows a bar with images, rate and time left."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException

from phreg.progress import Progress
from phreg.progress_reporter import Show, words

EVERY_S = 10.0  # between two updates
_NO_ANSWER = (httpx.HTTPError, PrefectException)

logger = logging.getLogger(__name__)


@contextmanager
def progress_artifact(key: str) -> Iterator[Show]:
    """What the callback is shown inside the block stands in the artifact. It is a picture of the work only: a
    server that does not answer holds nothing up and stops nothing."""
    try:
        artifact = cast(UUID, create_progress_artifact(0.0, key=key, description="starting"))
    except _NO_ANSWER as error:
        logger.warning("no progress artifact: %s", error)
        yield lambda progress, rate, remaining: None
        return
    updates = _Updates(artifact)
    thread = threading.Thread(target=updates.keep, daemon=True, name="phreg-progress-artifact")
    thread.start()
    try:
        yield updates.show
        updates.percent = 100.0
    finally:
        updates.stop.set()
        thread.join(EVERY_S)


class _Updates:
    """Sends the last of what was shown, from a thread of its own: the work waits for no server."""

    def __init__(self, artifact: UUID) -> None:
        self._artifact, self._sent = artifact, (0.0, "")
        self.percent, self._words = 0.0, ""
        self.stop = threading.Event()

    def show(self, progress: Progress, rate: float | None, remaining: float | None) -> None:
        if progress.total and (progress.remaining is not None or progress.final):  # of the whole stage
            self.percent = min(100.0 * progress.done / progress.total, 100.0)
        self._words = words(progress, rate, remaining)

    def keep(self) -> None:
        while not self.stop.wait(EVERY_S):
            self._send()
        self._send()

    def _send(self) -> None:
        news = self.percent, self._words
        if news == self._sent:
            return
        try:
            update_progress_artifact(self._artifact, *news)
            self._sent = news
        except _NO_ANSWER as error:
            logger.debug("the progress artifact was not updated: %s", error)
