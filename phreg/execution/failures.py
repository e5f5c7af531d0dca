"""What a failed training means: try again, or tell the user."""

from collections.abc import Sequence

from ray.train import ControllerError, WorkerGroupError

from phreg.distill.job import StudentJob
from phreg.errors import PhregError, TrainingError


def explained(jobs: Sequence[StudentJob], error: Exception | None) -> Exception:
    """The worker's own error where it is one of ours; otherwise what Ray says, and what to do."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, PhregError):
            return cause
    found = "; ".join(f"{type(cause).__name__}: {str(cause).strip()[:500]}" for cause in causes)
    training = jobs[0].training
    failure = TrainingError(
        f"The {named(jobs)} could not be trained",
        expected=f"{training.workers} workers, and no more than {training.max_failures} failures",
        found=found or "no result",
        remedy="its checkpoints are kept: run the same command again to go on from the last one",
    )
    failure.__cause__ = error
    return failure


def named(jobs: Sequence[StudentJob]) -> str:
    """`student a`, or `students a, b`."""
    return f"student{'s' if len(jobs) > 1 else ''} {', '.join(job.student.name for job in jobs)}"


def _causes(error: Exception | None) -> list[Exception]:
    if isinstance(error, WorkerGroupError):
        return list(error.worker_failures.values())
    if isinstance(error, ControllerError):
        return [error.controller_failure]
    return [error] if error is not None else []
