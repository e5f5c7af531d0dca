"""Metrics of a run, for Prometheus: Ray shows them on the `/metrics` of the driver's node, as `ray_NAME`.

They are what the progress is told from. Tags say what the work is of: see `phreg.progress.about`.
"""

import functools
import math

from ray.util.metrics import Gauge

from phreg.distill.progress import StudentProgress
from phreg.execution.tally import TargetsProgress
from phreg.progress import subject

METRICS = {
    "phreg_images_done": "images whose targets this run has made",
    "phreg_images_per_second": "images whose targets are made, per second; 0 once all are",
    "phreg_shards_left": "shards whose targets are not there yet",
    "phreg_quarantined_images": "images of the shards done so far that cannot be used",
    "phreg_bytes_written": "bytes of targets that this run has committed",
    "phreg_wait_seconds": "seconds in which targets had no actor at work; of students: up to the first step",
    "phreg_training_step": "training steps done",
    "phreg_training_loss": "loss of the last training step; of students that share their batches the mean",
    "phreg_crops_per_second": "crops learnt from, per second; 0 once the training is done",
}
"""Names, and what is counted: all are gauges, there for as long as the run's process."""
TAGS = "run", "targets", "student"


def record_targets(progress: TargetsProgress) -> None:
    _record(
        images_done=progress.images,
        images_per_second=progress.images_per_second if progress.done < progress.total else 0,
        shards_left=progress.total - progress.done,
        quarantined_images=progress.quarantined,
        bytes_written=progress.bytes,
        wait_seconds=progress.waited,
    )


def record_training(progress: StudentProgress) -> None:
    rate = 0 if progress.final else progress.crops_per_second
    _record(training_step=progress.step, training_loss=progress.loss, crops_per_second=rate)


def record_wait(seconds: float) -> None:
    _record(wait_seconds=seconds)


def _record(**values: float) -> None:
    """In a process that is connected to Ray."""
    names = subject()
    tags = {tag: names.get(tag, "") for tag in TAGS}
    for name, value in values.items():
        if math.isfinite(value):
            _gauge(f"phreg_{name}").set(value, tags)


@functools.cache
def _gauge(name: str) -> Gauge:
    return Gauge(name, METRICS[name], TAGS)
