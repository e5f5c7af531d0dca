"""The distillation stage: one student from cached targets."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from phreg.cache import CommitRecord, TargetStore
from phreg.config.run import RunConfig, StudentConfig
from phreg.data import shard_name
from phreg.distill.job import ShardRef, StudentJob
from phreg.distill.progress import OnProgress
from phreg.distill.result import StudentReport, finished_report
from phreg.errors import MissingTargetsError
from phreg.execution.connection import is_connected
from phreg.execution.side_by_side import one_by_one, side_by_side
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.rates import note_rate
from phreg.storage import Folder

Result = TypeVar("Result")


def student_job(config: RunConfig, prepared: Prepared, student: StudentConfig) -> StudentJob:
    """The job, with the shards as they were committed. Raises `MissingTargetsError` if one is not."""
    digest = prepared.targets[student.targets]
    names = [shard_name(url) for url in (*prepared.train, *prepared.validation)]
    records = TargetStore.open(Folder(config.cache_url), digest).records(names)
    return StudentJob(
        student=student,
        teacher=config.teacher,
        training=config.training,
        cache_url=config.cache_url,
        target_digest=digest,
        train=tuple(_reference(url, records, student.targets) for url in prepared.train),
        validation=tuple(_reference(url, records, student.targets) for url in prepared.validation),
        start=prepared.starts.get(student.name, ""),
    )


def distil_student(
    config: RunConfig, prepared: Prepared, student: StudentConfig, on_progress: OnProgress | None = None
) -> StudentReport:
    """Train one student, or go on with it, or reuse it when it is finished."""
    job = student_job(config, prepared, student)
    finished = finished_report(job, Folder(config.output))
    if finished is not None:
        return finished
    from phreg.execution.train import distil  # only here: it imports Ray

    report = distil(job, config.output, address=config.ray_address, on_progress=on_progress)
    if not report.reused:
        training = config.training
        crops = report.steps * student.batch_size * training.workers
        spec = TargetStore.open(Folder(config.cache_url), job.target_digest).spec
        seconds = report.seconds * training.workers
        note_rate(Folder(config.output), "students", spec, training.gpus, crops, seconds)
    return report


def train_all(config: RunConfig, works: Sequence[Callable[[], Result]]) -> list[Result | Exception]:
    """What each student's training came to, side by side where there is room for several of them.

    Inside `connected_when_needed`: until something connects, one after the other is looked at, for all were
    finished before.
    """
    if config.training.parallel_students == 1:
        return one_by_one(works)
    room: list[Callable[[], int]] = []

    def places() -> int:
        if not is_connected():
            return 1
        if not room:
            from phreg.execution.train import student_places

            room.append(student_places(config.training))
        return room[0]()

    return side_by_side(works, places)


def _reference(url: str, records: dict[str, CommitRecord], targets: str) -> ShardRef:
    name = shard_name(url)
    if name not in records:
        raise MissingTargetsError(
            f"The shard {name} has no committed targets {targets!r}",
            expected="targets made by `phreg run` or the targets flow",
            remedy="run the targets stage first",
        )
    return ShardRef(name, url, records[name].shard_digest)
