"""What a failed training means: try again, or tell the user."""

from ray.train import ControllerError, WorkerGroupError

from phreg.distill.job import StudentJob
from phreg.errors import PhregError, TrainingError


def explained(job: StudentJob, error: Exception | None) -> Exception:
    """The worker's own error where it is one of ours; otherwise what Ray says, and what to do."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, PhregError):
            return cause
    found = "; ".join(f"{type(cause).__name__}: {str(cause).strip()[:500]}" for cause in causes)
    failure = TrainingError(
        f"The student {job.student.name} could not be trained",
        expected=f"{job.training.workers} workers, and no more than {job.training.max_failures} failures",
        found=found or "no result",
        remedy="its checkpoints are kept: run the same command again to go on from the last one",
    )
    failure.__cause__ = error
    return failure


def _causes(error: Exception | None) -> list[Exception]:
    if isinstance(error, WorkerGroupError):
        return list(error.worker_failures.values())
    if isinstance(error, ControllerError):
        return [error.controller_failure]
    return [error] if error is not None else []
