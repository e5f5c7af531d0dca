"""The loss curve: one point a training step (over the global batch) and one a validation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class CurvePoint:
    """The loss after `step` steps, its terms and their `total`, and `epoch` passes over the data.

    `lr` is the learning rate of that step, `grad_norm` its global gradient norm before clipping (None for
    validation). No clock: the curve of an interrupted run equals that of an undisturbed one.
    """

    step: int
    epoch: float
    split: Split
    losses: Mapping[str, float]
    lr: float
    grad_norm: float | None

    @property
    def total(self) -> float:
        return self.losses["total"]


def curve_to_jsonl(points: Sequence[CurvePoint]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(_flat(point)) + "\n" for point in points)


def curve_from_jsonl(text: str) -> list[CurvePoint]:
    return [_point(**json.loads(line)) for line in text.splitlines()]


def _flat(point: CurvePoint) -> dict[str, Any]:
    ends = {"lr": point.lr, "grad_norm": point.grad_norm}
    return {"step": point.step, "epoch": point.epoch, "split": point.split, **point.losses, **ends}


def _point(
    step: int, epoch: float, split: Split, lr: float, grad_norm: float | None, **losses: float
) -> CurvePoint:
    return CurvePoint(step, epoch, split, losses, lr, grad_norm)


def last_point(points: Sequence[CurvePoint], split: Split) -> CurvePoint:
    return next(point for point in reversed(points) if point.split == split)
