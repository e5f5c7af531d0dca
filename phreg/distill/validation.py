"""The loss on held-out crops."""

import torch

from phreg.distill.samples import Samples
from phreg.distill.step import batch_loss
from phreg.distill.stream import held_out_batches
from phreg.distill.workers import Workers
from phreg.models import Student


@torch.no_grad()
def validate(
    student: Student, samples: Samples, batch_size: int, precision: str, workers: Workers
) -> dict[str, float]:
    """Mean terms over all held-out crops, each worker taking its share of them, always in the same order."""
    count = sum(samples.rows)
    share = range(count * workers.rank // workers.world, count * (workers.rank + 1) // workers.world)
    sums = torch.zeros(3, dtype=torch.float64, device=workers.device)
    for batch in held_out_batches(samples, share, batch_size):
        loss = batch_loss(student, batch, precision, workers.device)
        sums += torch.stack(list(loss)).double() * len(batch)
    cosine, mse, total = (workers.sum(sums) / count).tolist()
    return {"cosine": cosine, "mse": mse, "total": total}
