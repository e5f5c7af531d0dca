"""One student in training: what it does with each batch, whoever else learns from it."""

import logging
from dataclasses import dataclass, field

from phreg.distill.batches import BatchPlan
from phreg.distill.curve import CurvePoint, last_point
from phreg.distill.job import StudentJob
from phreg.distill.result import (
    CURVE_SO_FAR,
    StudentReport,
    finished_report,
    publish,
    remove_checkpoints,
)
from phreg.distill.samples import Batch
from phreg.distill.skipped import SkippedStep
from phreg.distill.state import TrainingState
from phreg.distill.step import training_step
from phreg.distill.workers import Workers
from phreg.errors import PhregError
from phreg.method.schedule import learning_rate
from phreg.models import Student, hub_files
from phreg.storage import Folder

logger = logging.getLogger(__name__)


@dataclass
class StudentRun:
    """One attempt at one student, by one worker. `failure`: why it does not go on, alike on every worker."""

    job: StudentJob
    output: Folder
    workers: Workers
    plan: BatchPlan
    state: TrainingState
    failure: PhregError | None = field(default=None, init=False)

    @property
    def folder(self) -> Folder:
        return self.job.folder(self.output)

    @property
    def student(self) -> Student:
        return self.state.student

    def due(self, every: int) -> bool:
        return self.failure is None and (
            self.state.step % every == 0 or self.state.step == self.plan.total_steps
        )

    def learn(self, batch: Batch) -> None:
        """One step. Raises `TrainingError` past the limit of skipped ones."""
        state, lr = self.state, self._learning_rate(self.state.step)
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        state.step += 1
        made = training_step(
            state.student, state.optimizer, batch, self.job.student, self.workers, state.step
        )
        if isinstance(made, SkippedStep):
            self._skip(made)
        else:
            epoch = self.plan.epochs_after(state.step - 1)
            state.curve.append(CurvePoint(state.step, epoch, "train", made.losses, lr, made.grad_norm))

    def validated(self, losses: dict[str, float]) -> None:
        """The held-out losses after the step just made."""
        step = self.state.step - 1
        epoch, lr = self.plan.epochs_after(step), self._learning_rate(step)
        point = CurvePoint(self.state.step, epoch, "validation", losses, lr, grad_norm=None)
        self.state.curve.append(point)

    def save(self) -> None:
        """The checkpoint, where it is due; only the first worker writes."""
        if self.due(self.job.training.checkpoint_every) and self.workers.leads:
            self.folder.write(CURVE_SO_FAR, self.state.curve_text.encode())
            self.state.save(self.folder)

    def finish(self) -> StudentReport:
        """Publish it, unless another run has; then what is only there to go on from may go. Raises
        `TrainingError` if it has learnt nothing."""
        found = finished_report(self.job, self.output)  # on a GPU another run's last bits may differ
        report = self._publish() if found is None else found
        if self.workers.leads:
            remove_checkpoints(self.job, self.output)
        return report

    def _publish(self) -> StudentReport:
        job, state = self.job, self.state
        state.check_learnt()
        report = StudentReport(
            name=job.student.name,
            digest=job.digest,
            reused=False,
            steps=state.step,
            resumed_from=state.resumed_from,
            seconds=state.seconds,
            train_loss=dict(last_point(state.curve, "train").losses),
            validation_loss=dict(last_point(state.curve, "validation").losses),
            url=self.folder.url,
            skipped_steps=state.skipped,
        )
        if self.workers.leads:
            files = hub_files(state.student, {"job": job.digest, "targets": job.target_digest})
            publish(job, self.folder, files, state.curve_text, report)
        return report

    def _learning_rate(self, step: int) -> float:
        settings = self.job.student
        return learning_rate(
            step, self.plan.total_steps, settings.learning_rate, settings.final_learning_rate
        )

    def _skip(self, step: SkippedStep) -> None:
        """Count it, on every worker alike. Raises `TrainingError` past the limit."""
        self.state.skipped += step
        if self.workers.leads:
            logger.warning("student %s: skipped step %d: %s", self.job.student.name, step.step, step)
        self.state.skipped.check_limit(self.job.training.max_skipped_steps, step)
