"""Steps that were skipped: their loss or its gradient was not finite, so nothing was learnt from them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from phreg.errors import TrainingError

REMEDY = "look at these samples; or train with a lower learning_rate, clip_gradient, or float32"
NAMED = 5
"""Skipped steps that are kept with what was found; the others are only counted."""
SAMPLES = 32
"""Samples named of one step."""


@dataclass(frozen=True)
class SkippedStep:
    """`step` as on the curve, which has no point there; `found` instead of finite numbers, in `samples`."""

    step: int
    found: str
    samples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.found}; samples {', '.join(self.samples)}"


@dataclass(frozen=True)
class SkippedSteps:
    """How many were skipped, and the first `NAMED` of them. Every worker counts alike."""

    count: int = 0
    first: tuple[SkippedStep, ...] = ()

    def __add__(self, step: SkippedStep) -> "SkippedSteps":
        return replace(self, count=self.count + 1, first=(*self.first, step)[:NAMED])

    def check_limit(self, limit: int, step: SkippedStep) -> None:
        """Raise `TrainingError` if they are more than `limit`; `step` is the last of them."""
        if self.count <= limit:
            return
        raise TrainingError(
            f"The loss or its gradient is not finite at step {step.step}",
            expected=f"finite numbers; at most {limit} steps may be skipped (training.max_skipped_steps)",
            found=f"{step}" + (f"; with it {self}" if self.count > 1 else ""),
            remedy=REMEDY,
        )

    def __str__(self) -> str:
        """`3 steps skipped (5, 9, 11)`."""
        named = ", ".join(str(step.step) for step in self.first)
        more = ", ..." if self.count > len(self.first) else ""
        return f"{self.count} step{'s' if self.count != 1 else ''} skipped ({named}{more})"

    def to_plain(self) -> dict[str, Any]:
        """As JSON and checkpoints keep it."""
        return asdict(self)

    @staticmethod
    def from_plain(data: Mapping[str, Any]) -> "SkippedSteps":
        """Undo `to_plain`, also after JSON made lists of tuples; nothing gives none."""
        first = (SkippedStep(**step | {"samples": tuple(step["samples"])}) for step in data.get("first", ()))
        return SkippedSteps(int(data.get("count", 0)), tuple(first))


NONE_SKIPPED = SkippedSteps()
