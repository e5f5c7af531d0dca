"""What changes in training: the unlocked parameters, the optimiser, the step, the curve, what was skipped."""

import contextlib
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from phreg.config.run import StudentConfig
from phreg.distill import optimizer
from phreg.distill.checkpoint import (
    Checkpoint,
    checkpoint_path,
    checkpoint_steps,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from phreg.distill.curve import CurvePoint, curve_from_jsonl, curve_to_jsonl
from phreg.distill.skipped import NONE_SKIPPED, REMEDY, SkippedSteps
from phreg.distill.workers import Workers
from phreg.errors import ObjectNotFoundError, TrainingError
from phreg.models import Student
from phreg.progress import tell
from phreg.storage import Folder

LOOKS = 5
PAUSE_S = 3.0  # folders that several nodes mount may show what one of them wrote a few seconds later

logger = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """After `step` steps. `seconds`: time trained; `resumed_from`: step of the checkpoint gone on from."""

    student: Student
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    resumed_from: int | None = None
    curve: list[CurvePoint] = field(default_factory=list)
    skipped: SkippedSteps = NONE_SKIPPED

    @staticmethod
    def fresh(student: Student, settings: StudentConfig) -> "TrainingState":
        unlocked = [p for p in student.parameters() if p.requires_grad]
        return TrainingState(student, optimizer.make_optimizer(unlocked, settings))

    @property
    def loss(self) -> float:
        """Of the last step that was not skipped; NaN before there is one."""
        return next((point.total for point in reversed(self.curve) if point.split == "train"), math.nan)

    def check_learnt(self) -> None:
        """Raise `TrainingError` if every step was skipped."""
        if math.isnan(self.loss):
            raise TrainingError(
                "The student learnt nothing: no step had a finite loss and gradient",
                found=f"{self.skipped}; the first: {self.skipped.first[0]}",
                remedy=REMEDY,
            )

    @property
    def curve_text(self) -> str:
        return curve_to_jsonl(self.curve)

    def save(self, folder: Folder) -> None:
        checkpoint = Checkpoint(
            step=self.step,
            weights=self._unlocked(),
            optimizer=self.optimizer.state_dict(),
            curve=self.curve_text,
            seconds=self.seconds,
            skipped=self.skipped.to_plain(),
        )
        write_checkpoint(folder, checkpoint)

    def resume(self, folder: Folder, workers: Workers) -> None:
        """Go back to the latest whole checkpoint, if there is one: the first worker chooses for all."""
        checkpoint = _common_checkpoint(folder, workers)
        if checkpoint is None:
            return
        with torch.no_grad():
            for name, parameter in self._unlocked().items():
                parameter.copy_(checkpoint.weights[name])
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.step = self.resumed_from = checkpoint.step
        self.seconds, self.curve = checkpoint.seconds, curve_from_jsonl(checkpoint.curve)
        self.skipped = SkippedSteps.from_plain(checkpoint.skipped)

    def _unlocked(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.student.named_parameters() if p.requires_grad}


def _common_checkpoint(folder: Folder, workers: Workers) -> Checkpoint | None:
    """The same for all workers. One that another run removes before all have read it is chosen anew.

    Raises `TrainingError`, on all workers alike, if some do not see what the first does, `LOOKS` times.
    """
    unseen = 0
    while True:
        checkpoint = latest_checkpoint(folder) if workers.leads else None
        step = workers.broadcast(checkpoint.step if checkpoint else -1)
        if step < 0:
            return None
        if not workers.leads:
            with contextlib.suppress(ObjectNotFoundError):
                checkpoint = read_checkpoint(folder, step)
        blind = workers.gather([] if checkpoint is not None else [workers.name])
        if not blind:
            return checkpoint
        unseen += workers.broadcast(workers.leads and step in checkpoint_steps(folder))
        if unseen == LOOKS:
            leader = workers.gather([workers.name])[0]
            raise _not_seen(folder.url_of(checkpoint_path(step)), leader, blind)
        _wait(f"the checkpoint of step {step} is not seen by {', '.join(blind)}: looking again", workers)


def _wait(why: str, workers: Workers) -> None:
    tell(why)
    if workers.leads:
        logger.warning("%s in %g s", why, PAUSE_S)
    time.sleep(PAUSE_S)


def _not_seen(url: str, leader: str, blind: Sequence[str]) -> TrainingError:
    return TrainingError(
        f"Training cannot go on from the checkpoint {url}: not all workers see it",
        expected=f"an output folder that all nodes share: {leader} sees the checkpoint",
        found=f"after {LOOKS} looks, {PAUSE_S:g} s apart, nothing there for {', '.join(blind)}",
        remedy="set `output` to object storage (s3://...) or to a folder that is mounted on all nodes at "
        "the same path, or let all workers run on one node",
    )
