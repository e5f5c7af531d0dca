"""One training step: forward, backward, the sum over workers, clipping, AdamW."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from phreg.config.run import StudentConfig
from phreg.distill.samples import Batch
from phreg.distill.skipped import SAMPLES, SkippedStep
from phreg.distill.workers import Workers
from phreg.method.loss import DistillationLoss, distillation_loss
from phreg.models import Student


@dataclass(frozen=True)
class StepLosses:
    """Mean terms and `total` over the global batch, and the gradient's norm before clipping."""

    losses: Mapping[str, float]
    grad_norm: float


def batch_loss(
    student: Student, batch: Batch, precision: str, device: torch.device, weighted: bool = False
) -> DistillationLoss:
    """Mean loss of a batch; the forward pass in `precision`, the loss in float32. `weighted`: by how sure the
    targets are."""
    target = batch.targets(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        features: Float[Tensor, "B C h w"] = student(student.normalize(batch.crops.to(device)))
        predicted = student.as_targets(features)
    weights = batch.weights(device) if weighted else None
    return distillation_loss(target, predicted.flatten(2).transpose(1, 2), weights)


def training_step(
    student: Student,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    settings: StudentConfig,
    workers: Workers,
    step: int,
) -> StepLosses | SkippedStep:
    """Step number `step` (the first is 1): move the student by the gradient of the mean loss over all
    workers' crops; or, if loss or gradient is not finite, change neither weights nor optimiser.

    Gradients and losses travel in one flat buffer, summed in one collective. DistributedDataParallel
    would overlap that with the backward pass, but it rebuilds its buckets after the first step, which
    changes the order of summation: a resumed run would differ from an undisturbed one in the last bits.
    Whether they are finite is read from the summed buffer, so all workers decide alike.
    """
    optimizer.zero_grad(set_to_none=True)
    loss = batch_loss(student, batch, settings.precision, workers.device, settings.weigh_by_certainty)
    (loss.total * len(batch)).backward()
    # Parameters without influence have no gradient (query, key and MLP of the last block under `value`).
    learning = [p for p in student.parameters() if p.grad is not None]
    parts = loss.parts
    losses = torch.stack([*parts.values(), torch.ones_like(loss.total)]).detach() * len(batch)
    buffer = workers.sum(torch.cat([p.grad.flatten() for p in learning if p.grad is not None] + [losses]))
    gradient, summed = buffer[: -len(losses)] / buffer[-1], buffer[-len(losses) : -1]
    norm = gradient.norm()
    means = StepLosses(dict(zip(parts, (summed / buffer[-1]).tolist(), strict=True)), norm.item())
    if not torch.isfinite(summed.sum() + norm):
        return _skipped(step, means, batch, _finite(losses, learning), workers)
    if settings.clip_gradient is not None:
        gradient *= (settings.clip_gradient / (norm + 1e-6)).clamp(max=1)
    for parameter, part in zip(learning, gradient.split([p.numel() for p in learning]), strict=True):
        parameter.grad = part.view_as(parameter)
    optimizer.step()
    return means


def _finite(losses: Tensor, learning: Sequence[torch.nn.Parameter]) -> bool:
    """Whether this worker's own losses and gradients are, from before the sum."""
    own = [losses, *(p.grad for p in learning if p.grad is not None)]
    return all(bool(torch.isfinite(values).all()) for values in own)


def _skipped(step: int, means: StepLosses, batch: Batch, finite_here: bool, workers: Workers) -> SkippedStep:
    """Names the crops of the workers whose own numbers are not finite; if there are none, those of all."""
    guilty = workers.gather([] if finite_here else batch.keys) or workers.gather(batch.keys)
    found = f"loss {means.losses['total']}, gradient norm {means.grad_norm}"
    return SkippedStep(step, found, tuple(guilty[:SAMPLES]))
