"""Training a head on features in memory: AdamW, a cosine to zero, an order that the seed decides."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float16, Int, Shaped
from torch import Tensor, nn

from phreg.config.labels import ProbeConfig
from phreg.errors import TrainingError
from phreg.seeding import Draws, derive_seed

OnSteps = Callable[[int, int], None]


def start_values(config: ProbeConfig) -> torch.Generator:
    """The generator of a head's start values: PyTorch's, which may draw otherwise in another version. A score
    depends on PyTorch's arithmetic anyway, and is stored when it was measured."""
    return torch.Generator().manual_seed(derive_seed(config.seed, "probe head"))


def train_head(
    head: nn.Module,
    features: Float16[Tensor, "N C h w"],
    targets: Shaped[Tensor, "N H W"],
    loss: Callable[[Any, Any], Tensor],
    config: ProbeConfig,
    device: str = "cpu",
    on_progress: OnSteps | None = None,
) -> None:
    """Train in place, and leave the head on `device` in eval mode. Raises `TrainingError`.

    On CPU equal arguments and thread counts give equal weights, bit by bit. `on_progress` is told (steps
    done, steps in all).
    """
    head.to(device).train()
    batches = batch_order(len(features), config)
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    for step, batch in enumerate(batches, start=1):
        value = loss(head(features[batch].to(device).float()), targets[batch].to(device))
        _check_finite(value, step)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        if on_progress is not None:
            on_progress(step, len(batches))
    head.eval()


def batch_order(images: int, config: ProbeConfig) -> list[Int[Tensor, " B"]]:
    """Indices of each step's images: shuffled passes one after another, cut into equal batches.

    So a batch may reach into the next pass, and one that is larger than the set has images twice.
    """
    needed = config.steps * config.batch_size
    passes = [
        torch.from_numpy(Draws(config.seed, "probe order", i).permutation(images))
        for i in range(math.ceil(needed / images))
    ]
    return list(torch.cat(passes)[:needed].split(config.batch_size))


def _check_finite(loss: Tensor, step: int) -> None:
    if not math.isfinite(loss.item()):
        raise TrainingError(
            f"The probe's loss is not finite at step {step}",
            expected="a finite number",
            found=str(loss.item()),
            remedy="lower probe.learning_rate",
        )
