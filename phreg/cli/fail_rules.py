"""`--fail-if RULE`: a measure held against a number, for continuous integration."""

import argparse
import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass

from phreg.types import HIGHER_IS_BETTER, KEPT_FROM_TEACHER

_COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_RULE = re.compile(rf"\s*(\w+)\s*({'|'.join(_COMPARISONS)})\s*(\S+)\s*")


@dataclass(frozen=True)
class FailRule:
    """`metric` (one of those that need no teacher), a comparison and a number."""

    metric: str
    comparison: str
    bound: float

    def holds(self, metrics: Mapping[str, float]) -> bool:
        return bool(_COMPARISONS[self.comparison](metrics[self.metric], self.bound))

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {self.bound:g}"


def fail_rule(text: str) -> FailRule:
    """An argument that is a rule."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no rule: METRIC COMPARISON NUMBER is, such as 'artifact_rate > 0.01'; "
            f"comparisons are {' '.join(_COMPARISONS)}"
        )
    metric, comparison, number = match.groups()
    known = [name for name in HIGHER_IS_BETTER if name not in KEPT_FROM_TEACHER]  # it sees one model alone
    if metric not in known:
        raise argparse.ArgumentTypeError(
            f"there is no metric {metric!r} in {text!r}; there are {', '.join(known)}"
        )
    return FailRule(metric, comparison, _finite(number, text))


def _finite(number: str, text: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{number!r} in {text!r} is no number to hold a measure against")
    return value
