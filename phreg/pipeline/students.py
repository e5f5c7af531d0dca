"""The distillation stage: students from cached targets."""

from collections.abc import Sequence

from phreg.cache import CommitRecord, TargetStore
from phreg.config.run import RunConfig, StudentConfig
from phreg.data import shard_name
from phreg.distill.job import ShardRef, StudentJob
from phreg.distill.progress import OnProgress
from phreg.distill.result import StudentReport, reused_report
from phreg.errors import MissingTargetsError, PhregError
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.rates import note_rate
from phreg.progress import about
from phreg.storage import Folder


def student_job(config: RunConfig, prepared: Prepared, student: StudentConfig) -> StudentJob:
    """The job, with the shards as they were committed. Raises `MissingTargetsError` if one is not."""
    return student_jobs(config, prepared, [student])[0]


def student_jobs(
    config: RunConfig, prepared: Prepared, students: Sequence[StudentConfig]
) -> list[StudentJob]:
    """Of students of the same targets, whose records are read once."""
    (targets,) = {student.targets for student in students}
    digest = prepared.targets[targets]
    names = [shard_name(url) for url in (*prepared.train, *prepared.validation)]
    records = TargetStore.open(Folder(config.cache_url), digest).records(names)
    train = tuple(_reference(url, records, targets) for url in prepared.train)
    validation = tuple(_reference(url, records, targets) for url in prepared.validation)
    return [
        StudentJob(
            student=student,
            teacher=config.teacher,
            training=config.training,
            cache_url=config.cache_url,
            target_digest=digest,
            train=train,
            validation=validation,
            start=prepared.starts.get(student.name, ""),
        )
        for student in students
    ]


def distil_students(
    config: RunConfig,
    prepared: Prepared,
    students: Sequence[StudentConfig],
    on_progress: OnProgress | None = None,
) -> list[StudentReport | PhregError]:
    """Train students that share their batches, or go on with them, or reuse those that are finished.

    What is wrong with one of them alone stands in its place.
    """
    jobs = student_jobs(config, prepared, students)
    finished = [reused_report(job, Folder(config.output)) for job in jobs]
    if all(finished):
        return [report for report in finished if report is not None]
    from phreg.execution.train import distil_together  # only here: it imports Ray

    names = ",".join(student.name for student in students)
    with about(run=config.name, student=names, targets=students[0].targets):
        outcomes = distil_together(jobs, config.output, address=config.ray_address, on_progress=on_progress)
    for job, report in zip(jobs, outcomes, strict=True):
        if isinstance(report, StudentReport) and not report.reused:
            training = config.training
            crops = report.steps * job.student.batch_size * training.workers
            spec = TargetStore.open(Folder(config.cache_url), job.target_digest).spec
            seconds = report.seconds * training.workers
            note_rate(Folder(config.output), "students", spec, training.gpus, crops, seconds)
    return outcomes


def _reference(url: str, records: dict[str, CommitRecord], targets: str) -> ShardRef:
    name = shard_name(url)
    if name not in records:
        raise MissingTargetsError(
            f"The shard {name} has no committed targets {targets!r}",
            expected="targets made by `phreg run` or `phreg targets`",
            remedy="run `phreg targets` with the same config first",
        )
    return ShardRef(name, url, records[name].shard_digest)
