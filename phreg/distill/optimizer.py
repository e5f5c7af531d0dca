"""The optimiser of a student: the paper's AdamW."""

from collections.abc import Iterable

import torch

from phreg.config.run import StudentConfig


def make_optimizer(learning: Iterable[torch.nn.Parameter], settings: StudentConfig) -> torch.optim.Optimizer:
    """Of the parameters that learn. Any of torch's interface will do: its learning rates are set before each
    step, its `state_dict` is kept in checkpoints."""
    return torch.optim.AdamW(learning, lr=settings.learning_rate, weight_decay=settings.weight_decay)
