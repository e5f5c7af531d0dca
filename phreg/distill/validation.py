"""The loss on held-out crops."""

import math
from collections.abc import Sequence

import torch

from phreg.distill.held_out import HeldOutBatches
from phreg.distill.skipped import REMEDY, SAMPLES
from phreg.distill.step import batch_loss
from phreg.distill.student_run import StudentRun
from phreg.distill.workers import Workers
from phreg.errors import TrainingError
from phreg.method.loss import TERMS
from phreg.progress import tell


@torch.no_grad()
def validate(
    runs: Sequence[StudentRun], held_out: HeldOutBatches, workers: Workers
) -> list[dict[str, float] | TrainingError]:
    """Mean terms over all held-out crops for each student, each worker taking its share of the crops. All
    tokens count alike, however training weighs them, so that students compare.

    A `TrainingError` in its place, on all workers alike, unless they are finite: such a student is of no use.
    """
    if not runs:
        return []
    guilty: list[list[str]] = [[] for _ in runs]
    names = [*TERMS, "total"]
    sums = [torch.zeros(len(names), dtype=torch.float64, device=workers.device) for _ in runs]
    done = 0
    for batch in held_out.batches():
        shared = batch.on(workers.device)
        for run, total, bad in zip(runs, sums, guilty, strict=True):
            loss = batch_loss(run.student, shared, run.job.student.precision, workers.device)
            total += torch.stack(list(loss.parts.values())).double() * len(batch)
            bad += batch.keys if not torch.isfinite(loss.total) else ()
        done += len(batch)
        tell("validating", done, len(held_out.share), "crops")
    found: list[dict[str, float] | TrainingError] = []
    for run, total, bad in zip(runs, sums, guilty, strict=True):
        losses = dict(zip(names, (workers.sum(total) / held_out.count).tolist(), strict=True))
        if all(map(math.isfinite, losses.values())):
            found.append(losses)
        else:
            found.append(_not_finite(run.state.step, losses["total"], workers.gather(bad)))
    return found


def _not_finite(step: int, total: float, guilty: Sequence[str]) -> TrainingError:
    return TrainingError(
        f"The loss on the held-out crops is not finite after step {step}: this student is not published",
        expected="finite numbers",
        found=f"loss {total}; samples {', '.join(guilty[:SAMPLES])}",
        remedy=REMEDY,
    )
