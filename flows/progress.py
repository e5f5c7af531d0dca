"""Progress in the flow's log, and so in the terminal and in Prefect's UI, at most every few seconds."""

import logging
import time
from collections.abc import Callable

from phreg.distill.progress import StudentProgress
from phreg.execution.targets import TargetsProgress

EVERY_SECONDS = 5.0
Logger = logging.Logger | logging.LoggerAdapter


def targets_logger(logger: Logger, name: str) -> Callable[[TargetsProgress], None]:
    due = _Due()

    def log(progress: TargetsProgress) -> None:
        if due(last=progress.done == progress.total):
            rate = f", {progress.images_per_second:.1f} images/s" if progress.images else ", all reused"
            left = "" if progress.done == progress.total else f", {clock(progress.remaining)} left"
            logger.info("targets %s: %d/%d shards%s%s", name, progress.done, progress.total, rate, left)

    return log


def student_logger(logger: Logger, name: str) -> Callable[[StudentProgress], None]:
    due = _Due()

    def log(progress: StudentProgress) -> None:
        if due(last=progress.step == progress.total_steps):
            skipped = f", {progress.skipped} skipped" if progress.skipped else ""
            logger.info(
                "student %s: step %d/%d%s, loss %.4f, %.1f crops/s, %s left",
                name, progress.step, progress.total_steps, skipped, progress.loss,
                progress.crops_per_second, clock(progress.remaining),
            )  # fmt: skip

    return log


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _Due:
    """True the first time, the last time, and at most every `EVERY_SECONDS` between."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, last: bool) -> bool:
        now = time.monotonic()
        if now < self._next and not last:
            return False
        self._next = now + EVERY_SECONDS
        return True
