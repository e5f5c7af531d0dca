"""The loss on held-out crops."""

import math
from collections.abc import Sequence

import torch

from phreg.distill.samples import Samples
from phreg.distill.skipped import REMEDY, SAMPLES
from phreg.distill.step import batch_loss
from phreg.distill.stream import held_out_batches
from phreg.distill.workers import Workers
from phreg.errors import TrainingError
from phreg.models import Student
from phreg.progress import tell


@torch.no_grad()
def validate(
    student: Student, samples: Samples, batch_size: int, precision: str, workers: Workers, step: int
) -> dict[str, float]:
    """Mean terms over all held-out crops, each worker taking its share of them, always in the same order.

    Raises `TrainingError`, on all workers alike, unless they are finite: such a student is of no use.
    """
    count = sum(samples.rows)
    share = range(count * workers.rank // workers.world, count * (workers.rank + 1) // workers.world)
    guilty: list[str] = []
    done = 0
    sums = torch.zeros(3, dtype=torch.float64, device=workers.device)
    for batch in held_out_batches(samples, share, batch_size):
        loss = batch_loss(student, batch, precision, workers.device)
        sums += torch.stack(list(loss)).double() * len(batch)
        done += len(batch)
        tell("validating", done, len(share), "crops")
        guilty += batch.keys if not torch.isfinite(loss.total) else ()
    cosine, mse, total = (workers.sum(sums) / count).tolist()
    if not all(map(math.isfinite, (cosine, mse, total))):
        raise _not_finite(step, total, workers.gather(guilty))
    return {"cosine": cosine, "mse": mse, "total": total}


def _not_finite(step: int, total: float, guilty: Sequence[str]) -> TrainingError:
    return TrainingError(
        f"The loss on the held-out crops is not finite after step {step}: this student is not published",
        expected="finite numbers",
        found=f"loss {total}; samples {', '.join(guilty[:SAMPLES])}",
        remedy=REMEDY,
    )
