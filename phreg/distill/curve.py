"""The loss curve: one point a training step (over the global batch) and one a validation."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class CurvePoint:
    """The terms of the loss after `step` steps, and `epoch` passes over the data.

    `lr` is the learning rate of that step, `grad_norm` its global gradient norm before clipping (None for
    validation). No clock: the curve of an interrupted run equals that of an undisturbed one.
    """

    step: int
    epoch: float
    split: Split
    cosine: float
    mse: float
    total: float
    lr: float
    grad_norm: float | None

    @property
    def losses(self) -> dict[str, float]:
        return {"cosine": self.cosine, "mse": self.mse, "total": self.total}


def curve_to_jsonl(points: Sequence[CurvePoint]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(asdict(point)) + "\n" for point in points)


def curve_from_jsonl(text: str) -> list[CurvePoint]:
    return [CurvePoint(**json.loads(line)) for line in text.splitlines()]


def last_point(points: Sequence[CurvePoint], split: Split) -> CurvePoint:
    return next(point for point in reversed(points) if point.split == split)
