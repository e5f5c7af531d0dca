"""Distillation of one student: plain code, run alone or by each worker of a group.

Left out on purpose: augmentation (a cached target belongs to its crop), dropout (the student stays in
eval mode), and DistributedDataParallel (`step.py` says why).
"""

import json
import logging
from contextlib import closing
from dataclasses import dataclass

from phreg.cache import TargetStore
from phreg.distill.batches import BatchPlan
from phreg.distill.curve import CurvePoint, last_point
from phreg.distill.job import StudentJob
from phreg.distill.progress import OnProgress, Pace
from phreg.distill.result import CURVE_SO_FAR, StudentReport, finished_report, publish
from phreg.distill.samples import Batch, Samples, open_samples
from phreg.distill.skipped import SkippedStep
from phreg.distill.state import TrainingState
from phreg.distill.step import training_step
from phreg.distill.stream import train_batches
from phreg.distill.student import build_student
from phreg.distill.validation import validate
from phreg.distill.workers import Workers
from phreg.method.schedule import learning_rate
from phreg.models import hub_files
from phreg.progress import tell
from phreg.storage import Folder

logger = logging.getLogger(__name__)


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
    workers = workers or Workers()
    finished = _finished(job, output, workers)
    if finished is not None:
        return finished
    tell("preparing the training")
    run = _Run.prepare(job, output, workers)
    tell("looking for a checkpoint to go on from")
    run.state.resume(run.folder, run.workers)
    tell("reading the first shards")
    run.train(on_progress)
    return finished_report(job, output) or run.finish()  # on a GPU another run's last bits may differ


def _finished(job: StudentJob, output: Folder, workers: Workers) -> StudentReport | None:
    """As the first worker finds it, told to all: one that saw something else would wait for the others."""
    found = finished_report(job, output) if workers.leads else None
    told = workers.gather([] if found is None else [json.dumps(found.to_plain())])
    return StudentReport.from_plain(json.loads(told[0]), job.folder(output).url) if told else None


@dataclass(frozen=True)
class _Run:
    """One attempt, by one worker."""

    job: StudentJob
    folder: Folder
    workers: Workers
    samples: Samples
    held_out: Samples
    plan: BatchPlan
    state: TrainingState

    @staticmethod
    def prepare(job: StudentJob, output: Folder, workers: Workers) -> "_Run":
        """Everything that can be wrong with the job is found out here."""
        assert workers.world == job.training.workers, "the number of workers is part of the job's identity"
        settings = job.student
        store = TargetStore.open(Folder(job.cache_url), job.target_digest)
        samples, held_out = open_samples(store, job.train), open_samples(store, job.validation)
        plan = BatchPlan(
            rows=samples.rows,
            workers=workers.world,
            batch_size=settings.batch_size,
            shuffle_shards=job.training.shuffle_shards,
            epochs=settings.epochs,
            seed=settings.seed,
        )
        student = build_student(job, store.spec).on(workers.device)
        state = TrainingState.fresh(student, settings)
        return _Run(job, job.folder(output), workers, samples, held_out, plan, state)

    def train(self, on_progress: OnProgress | None) -> None:
        state, plan = self.state, self.plan
        trained_before = state.seconds
        pace = Pace(state.step, plan.total_steps, self.job.student.batch_size * self.workers.world)
        with closing(train_batches(self.samples, plan, self.workers.rank, state.step)) as batches:
            for batch in batches:
                self._step(batch)
                state.seconds = trained_before + pace.seconds
                if self._due(self.job.training.checkpoint_every) and self.workers.leads:
                    self.folder.write(CURVE_SO_FAR, state.curve_text.encode())
                    state.save(self.folder)
                if on_progress is not None and self.workers.leads:
                    on_progress(pace.at(state.step, state.loss, state.skipped.count))

    def finish(self) -> StudentReport:
        job, state = self.job, self.state
        state.check_learnt()
        report = StudentReport(
            name=job.student.name,
            digest=job.digest,
            reused=False,
            steps=state.step,
            resumed_from=state.resumed_from,
            seconds=state.seconds,
            train_loss=last_point(state.curve, "train").losses,
            validation_loss=last_point(state.curve, "validation").losses,
            url=self.folder.url,
            skipped_steps=state.skipped,
        )
        if self.workers.leads:
            files = hub_files(state.student, {"job": job.digest, "targets": job.target_digest})
            publish(job, self.folder, files, state.curve_text, report)
        return report

    def _step(self, batch: Batch) -> None:
        """One step, and the validation that is due after it."""
        settings, state = self.job.student, self.state
        epoch = self.plan.epochs_after(state.step)
        lr = learning_rate(
            state.step, self.plan.total_steps, settings.learning_rate, settings.final_learning_rate
        )
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        state.step += 1
        made = training_step(state.student, state.optimizer, batch, settings, self.workers, state.step)
        if isinstance(made, SkippedStep):
            self._skip(made)
        else:
            state.curve.append(CurvePoint(state.step, epoch, "train", lr=lr, **vars(made)))
        if self._due(self.job.training.validate_every):
            held_out = validate(
                state.student,
                self.held_out,
                settings.batch_size,
                settings.precision,
                self.workers,
                state.step,
            )
            state.curve.append(CurvePoint(state.step, epoch, "validation", lr=lr, grad_norm=None, **held_out))

    def _skip(self, step: SkippedStep) -> None:
        """Count it, on every worker alike. Raises `TrainingError` past the limit."""
        self.state.skipped += step
        if self.workers.leads:
            logger.warning("student %s: skipped step %d: %s", self.job.student.name, step.step, step)
        self.state.skipped.check_limit(self.job.training.max_skipped_steps, step)

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.plan.total_steps
