"""The learning rate: exponential decay (paper, implementation details)."""


def learning_rate(step: int, total_steps: int, first: float, last: float) -> float:
    """The rate of step 0 ... total_steps - 1: `first` at the first, `last` at the last."""
    if total_steps == 1:
        return first
    return float(first * (last / first) ** (step / (total_steps - 1)))
