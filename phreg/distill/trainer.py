"""Distillation of students: plain code, run alone or by each worker of a group.

Several students that read the same crops in the same order learn from one stream of batches, one after the
other from each: read, decoded and copied once. Their weights are bit for bit those of students trained alone.

Left out on purpose: augmentation (a cached target belongs to its crop), dropout (the student stays in
eval mode), and DistributedDataParallel (`step.py` says why).
"""

import json
import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from phreg.cache import TargetStore
from phreg.distill.batches import BatchPlan
from phreg.distill.held_out import HeldOutBatches
from phreg.distill.job import StudentJob
from phreg.distill.progress import OnProgress, Pace
from phreg.distill.result import StudentReport, reused_report
from phreg.distill.samples import Samples, open_samples
from phreg.distill.state import TrainingState
from phreg.distill.stream import train_batches
from phreg.distill.student import build_student, checked_teacher
from phreg.distill.student_run import StudentRun
from phreg.distill.validation import validate
from phreg.distill.workers import Workers
from phreg.errors import ConfigError, ModelError, PhregError, TrainingError
from phreg.progress import tell
from phreg.storage import Folder

Outcome = StudentReport | PhregError


def train_student(
    job: StudentJob,
    output: Folder,
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
) -> StudentReport:
    """Distil a student, or go on where an earlier attempt left off, or reuse one that is finished.

    Called by every worker of the group alike (by default there is one); only the first writes and
    reports progress. The same job gives the same weights and curve, bit for bit on CPU, however often it
    is interrupted. If two runs train a student in one output folder at once, the checkpoints of both serve
    either, and the first to end gives the result. Raises `TrainingError`, on every worker alike, if more
    steps than `training.max_skipped_steps` have no finite loss and gradient, or if the held-out loss is not
    finite.
    """
    (outcome,) = train_students([job], output, workers, on_progress)
    if isinstance(outcome, PhregError):
        raise outcome
    return outcome


def train_students(
    jobs: Sequence[StudentJob],
    output: Folder,
    workers: Workers | None = None,
    on_progress: OnProgress | None = None,
) -> list[Outcome]:
    """What came of each of several students that share their batches: equal `StudentJob.batches`.

    As `train_student`, but for this: what is wrong with one student is given in its place, not raised, and
    stops no other. One that goes on from a later checkpoint than the others joins in at its step.
    """
    workers = workers or Workers()
    assert len({job.batches for job in jobs}) == 1, "students share batches only if they read the same"
    outcomes: dict[str, Outcome] = {}
    for job in jobs:
        finished = _finished(job, output, workers)
        if finished is not None:
            outcomes[job.digest] = finished
    wanted = {job.digest: job for job in jobs if job.digest not in outcomes}
    if wanted:
        outcomes |= _train(list(wanted.values()), output, workers, on_progress)
    return [_named(outcomes[job.digest], job) for job in jobs]


def _named(outcome: Outcome, job: StudentJob) -> Outcome:
    """Two students may differ in nothing but their names."""
    return replace(outcome, name=job.student.name) if isinstance(outcome, StudentReport) else outcome


def _finished(job: StudentJob, output: Folder, workers: Workers) -> StudentReport | None:
    """As the first worker finds it, told to all: one that saw something else would wait for the others."""
    found = reused_report(job, output) if workers.leads else None
    told = workers.gather([] if found is None else [json.dumps(found.to_plain())])
    return StudentReport.from_plain(json.loads(told[0]), job.folder(output).url) if told else None


def _train(
    jobs: Sequence[StudentJob], output: Folder, workers: Workers, on_progress: OnProgress | None
) -> dict[str, Outcome]:
    """Of each, by its digest. Everything that can be wrong with a job is found out before the first step."""
    tell("preparing the training")
    job = jobs[0]
    assert workers.world == job.training.workers, "the number of workers is part of the job's identity"
    store = TargetStore.open(Folder(job.cache_url), job.target_digest)
    samples, held_out = open_samples(store, job.train), open_samples(store, job.validation)
    plan = BatchPlan(
        rows=samples.rows,
        workers=workers.world,
        batch_size=job.student.batch_size,
        shuffle_shards=job.training.shuffle_shards,
        epochs=job.student.epochs,
        seed=job.student.seed,
    )
    teacher = checked_teacher(job, store.spec)
    outcomes: dict[str, Outcome] = {}
    runs = []
    for each in jobs:
        try:
            student = build_student(each, store.spec, teacher)
        except (TrainingError, ModelError, ConfigError) as error:
            outcomes[each.digest] = error
            continue
        student = student.on(workers.device)  # what a node lacks is no student's mistake: it is raised
        try:
            run = StudentRun(each, output, workers, plan, TrainingState.fresh(student, each.student))
            tell("looking for a checkpoint to go on from")
            run.state.resume(run.folder, workers)
        except TrainingError as error:
            outcomes[each.digest] = error
        else:
            runs.append(run)
    most = job.training.validation_crops
    batches = HeldOutBatches.of(held_out, job.student.batch_size, workers, most)
    _Lessons(runs, samples, batches, plan, workers).give(on_progress)
    for run in runs:
        try:
            outcomes[run.job.digest] = run.failure or run.finish()
        except TrainingError as error:
            outcomes[run.job.digest] = error
    return outcomes


class _Lessons:
    """The stream of batches, and the students that learn from it."""

    def __init__(
        self,
        runs: Sequence[StudentRun],
        samples: Samples,
        held_out: HeldOutBatches,
        plan: BatchPlan,
        workers: Workers,
    ) -> None:
        self._runs, self._samples, self._held_out = runs, samples, held_out
        self._plan, self._workers = plan, workers

    def give(self, on_progress: OnProgress | None) -> None:
        """All that are left, from the first that some student has not had."""
        if not self._runs:
            return
        tell("reading the first shards")
        first = min(run.state.step for run in self._runs)
        pace = Pace(first, self._plan.total_steps, self._plan.batch_size * self._workers.world)
        before = time.monotonic()
        with closing(train_batches(self._samples, self._plan, self._workers.rank, first)) as batches:
            for step, batch in enumerate(batches, first):
                there = [run for run in self._runs if run.failure is None and run.state.step == step]
                shared = batch.on(self._workers.device)
                for run in there:
                    try:
                        run.learn(shared)
                    except TrainingError as error:
                        run.failure = error
                self._validate(there)
                now = time.monotonic()
                for run in there:
                    run.state.seconds += (now - before) / len(there)
                    run.save()
                before = now
                if all(run.failure for run in self._runs):
                    return
                if on_progress is not None and self._workers.leads:
                    on_progress(pace.at(step + 1, *_course(there), students=len(self._runs)))

    def _validate(self, runs: Sequence[StudentRun]) -> None:
        due = [run for run in runs if run.due(run.job.training.validate_every)]
        for run, found in zip(due, validate(due, self._held_out, self._workers), strict=True):
            if isinstance(found, TrainingError):
                run.failure = found
            else:
                run.validated(found)


def _course(runs: Sequence[StudentRun]) -> tuple[float, int]:
    """Mean loss, and steps skipped in all."""
    losses = [run.state.loss for run in runs if run.failure is None]
    return (
        math.fsum(losses) / len(losses) if losses else math.nan,
        sum(run.state.skipped.count for run in runs),
    )
