"""What promotes a student, as a user configures it: rules over measures, without labels and with them."""

import re
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from phreg.config.model import ConfigModel, Name
from phreg.types import HIGHER_IS_BETTER

SET_MEASURES = ("mIoU", "pixel accuracy")
"""Of a labelled set, in percent; more is better."""
_OF_A_SET = re.compile(r"(?P<column>\S+)[. ](?P<measure>miou|pixel[ _]accuracy)", re.IGNORECASE)


class GateRule(ConfigModel):
    """One condition of promotion: `metric` must beat `against` by `margin`, in the metric's own direction.

    On a labelled set that is shown by a paired bootstrap over its images: the gain's interval must lie above
    the margin, or, of what may be `not_worse_than`, above the loss allowed.
    """

    metric: str = Field(
        description=f"one of {', '.join(HIGHER_IS_BETTER)}; of a labelled set NAME.miou, NAME.pixel_accuracy"
    )
    against: Literal["teacher", "champion"] = Field(
        "teacher", description="who must be beaten; `champion`: the version that has the alias now"
    )
    margin: float = Field(
        0.0,
        description="smallest improvement; negative allows a loss of that much; points of a labelled metric",
    )
    not_worse_than: float | None = Field(
        None, ge=0, description="instead of a margin: the largest loss allowed; points of a labelled metric"
    )
    confidence: float = Field(
        0.95, gt=0, lt=1, description="of a labelled metric's interval: the share of drawn sets within it"
    )

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        """A labelled metric gets the name that tables give it, "NAME mIoU"."""
        found = _OF_A_SET.fullmatch(value)
        if found is not None:
            measure = found["measure"].lower().replace("_", " ")
            return f"{found['column']} {next(m for m in SET_MEASURES if m.lower() == measure)}"
        if value not in HIGHER_IS_BETTER:
            raise ValueError(
                f"no such metric; there are {', '.join(HIGHER_IS_BETTER)}, and of a labelled set "
                "NAME.miou and NAME.pixel_accuracy"
            )
        return value

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if self.not_worse_than is not None and self.margin:
            raise ValueError("give margin or not_worse_than, not both: a student is better, or not worse")
        return self

    @property
    def column(self) -> str | None:
        """The labelled set that the metric is of, if it is of one."""
        return None if self.metric in HIGHER_IS_BETTER else self.metric.partition(" ")[0]

    @property
    def measure(self) -> str:
        """Without the set's name."""
        return self.metric if self.column is None else self.metric.partition(" ")[2]

    @property
    def needed(self) -> float:
        """The smallest gain that will do."""
        return self.margin if self.not_worse_than is None else 0.0 - self.not_worse_than


class GateConfig(ConfigModel):
    """What a student must show to become the champion."""

    alias: Name = Field("champion", description="what the registry moves to a student that passes")
    rules: tuple[GateRule, ...] = Field(
        (
            GateRule(metric="shift_cosine_mean", against="teacher"),
            GateRule(metric="target_cosine_p50", against="teacher"),
            GateRule(metric="target_cosine_p50", against="champion"),
        ),
        description="all must hold",
    )

    @property
    def labelled_rules(self) -> tuple[GateRule, ...]:
        return tuple(rule for rule in self.rules if rule.column is not None)


def check_rules(gate: GateConfig, sets: Sequence[str], probes: Sequence[str]) -> None:
    """Raises `ValueError` for a rule on a labelled set that is not configured."""
    for index, rule in enumerate(gate.rules):
        if rule.column is None or rule.column in sets:
            continue
        if rule.column in probes:
            raise ValueError(
                f"gate.rules.{index}: {rule.column!r} is a probe, whose scores are not kept image by image; "
                "a rule needs a labelled set (labels.sets)"
            )
        raise ValueError(
            f"gate.rules.{index}: no labelled set is called {rule.column!r}; labels.sets has "
            + (", ".join(sets) or "none")
        )
