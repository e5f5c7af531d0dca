"""The gate: whether a student is promoted, and why, in sentences that are recorded with it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from phreg.config.run import GateRule
from phreg.registry.labelled_rules import LabelledSides, Outcome, apply_labelled
from phreg.types import HIGHER_IS_BETTER

ROUNDING = 1e-12  # 0.9 - 0.8 is a little less than 0.1

_OTHER_READ_OUT = "not held against the teacher's, whose features are taken by another read-out"


@dataclass(frozen=True)
class Verdict:
    """Whether all rules hold, and one sentence a rule, in the rules' order.

    `provisional`: no, and some rule on a labelled set could not be measured, which may be mended.
    """

    promoted: bool
    reasons: tuple[str, ...]
    provisional: bool = False

    @property
    def reason(self) -> str:
        """All reasons in one line, as a promotion records it."""
        return "; ".join(self.reasons)


def judge(
    rules: Sequence[GateRule],
    *,
    student: Mapping[str, float],
    teacher: Mapping[str, float],
    champion: Mapping[str, float] | None,
    as_teacher: bool = True,
    labelled: LabelledSides | None = None,
) -> Verdict:
    """Hold a student's metrics against its teacher's and the champion's; every rule must pass.

    Better is in the metric's own direction (`HIGHER_IS_BETTER`), and an improvement of exactly the margin
    passes. Without a champion its rules pass. A metric that is absent or not finite, on either side,
    refuses. Metrics compare only if they were measured on the same images: see `Evaluation.benchmark`.

    `as_teacher`: whether the student's features are taken by the teacher's read-out. If not (`value` learnt
    from `naclip`), their cosines to the teacher's targets are lower by nature, and no rule. `labelled`: what
    rules on labelled sets are judged by; none if nothing of them was measured.
    """
    if not rules:
        return Verdict(True, ("the gate has no rules",))
    outcomes = []
    for rule in rules:
        if rule.column is not None:
            outcomes.append(apply_labelled(rule, labelled))
        elif rule.against == "teacher" and rule.metric.startswith("target_") and not as_teacher:
            outcomes.append(Outcome(True, f"{rule.metric}: {_OTHER_READ_OUT}"))
        else:
            other = teacher if rule.against == "teacher" else champion
            outcomes.append(Outcome(*_apply(rule, student, other)))
    reasons = tuple(outcome.reason for outcome in outcomes)
    promoted = all(outcome.passed for outcome in outcomes)
    return Verdict(promoted, reasons, any(outcome.unmeasured for outcome in outcomes))


def _apply(
    rule: GateRule, student: Mapping[str, float], other: Mapping[str, float] | None
) -> tuple[bool, str]:
    if other is None:
        return True, f"{rule.metric}: there is no {rule.against} yet, so nothing to beat"
    for owner, metrics in (("student", student), (rule.against, other)):
        if rule.metric not in metrics:
            return False, f"{rule.metric}: the {owner} has no such metric, so it cannot be compared"
        if not math.isfinite(metrics[rule.metric]):
            return False, f"{rule.metric}: the {owner}'s is {metrics[rule.metric]}, which is no measurement"
    return _compare(rule, student[rule.metric], other[rule.metric])


def _compare(rule: GateRule, mine: float, theirs: float) -> tuple[bool, str]:
    gain = mine - theirs if HIGHER_IS_BETTER[rule.metric] else theirs - mine
    digits = _digits(gain, rule.needed)
    ours, other = f"{rule.metric} {mine:.{digits}f}", f"the {rule.against}'s {theirs:.{digits}f}"
    needed = f"(needed {rule.needed:.{digits}f})"
    by = f"by {abs(gain):.{digits}f}"
    passed = gain >= rule.needed - ROUNDING
    if gain > 0:
        return passed, f"{ours} beats {other} {by} {needed}" + ("" if passed else ", too little")
    if gain < 0:
        return passed, f"{ours} falls short of {other} {by} {needed}" + (", as allowed" if passed else "")
    return passed, f"{ours} equals {other} {needed}" + ("" if passed else ", too little")


def _digits(gain: float, margin: float) -> int:
    """Decimals enough to see a gain from nothing and from the margin: 3, more for close calls."""
    needed = [difference for difference in (abs(gain), abs(gain - margin)) if difference > ROUNDING]
    return max([3, *(min(9, -math.floor(math.log10(difference))) for difference in needed)])
