"""Rules on labelled sets: a paired bootstrap over the images tells whether a gain is more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from phreg.config.gate import GateRule
from phreg.evaluate.bootstrap import Difference, paired_difference, score_of
from phreg.evaluate.set_counts import SetCounts

PERCENT = 100
ROUNDING = 1e-9  # points


@dataclass(frozen=True)
class Counted:
    """A method on labelled sets: its counts of each image by the set's name, and why it has none of a set.

    `whose` begins its score in sentences, for instance "the teacher's".
    """

    whose: str
    counts: Mapping[str, SetCounts] = field(repr=False)
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledSides:
    """Who is held against whom. `teacher`: itself under several read-outs, of which the best counts;
    `champion`: none if there is no champion. `min_images`: by the set's name, as it is segmented with."""

    student: Counted
    teacher: tuple[Counted, ...]
    champion: tuple[Counted, ...]
    min_images: Mapping[str, int | None]


@dataclass(frozen=True)
class Outcome:
    """Of one rule. `unmeasured`: it did not pass, because there was nothing to compare."""

    passed: bool
    reason: str
    unmeasured: bool = False


def apply_labelled(rule: GateRule, sides: LabelledSides | None) -> Outcome:
    """Hold the student against the better of the others, on the images that both have.

    Without a champion its rules pass. What was not measured, on either side, does not.
    """
    column = str(rule.column)
    if sides is None or column not in sides.min_images:
        return _unmeasured(rule, f"the labelled set {column} is not there")
    others = sides.teacher if rule.against == "teacher" else sides.champion
    if not others and rule.against == "champion":
        return Outcome(True, f"{rule.metric}: there is no champion yet, so nothing to beat")
    for side in (sides.student, *others):
        if column not in side.counts:
            why = side.failures.get(column, "it was not measured")
            return _unmeasured(rule, f"{side.whose} cannot be had: {why}")
    return _compare(rule, sides.student.counts[column], others, sides.min_images[column])


def _unmeasured(rule: GateRule, why: str) -> Outcome:
    return Outcome(False, f"{rule.metric}: {why}, so it cannot be compared", unmeasured=True)


def _compare(
    rule: GateRule, student: SetCounts, others: Sequence[Counted], min_images: int | None
) -> Outcome:
    pairs = [_Pair.of(rule, student, other, min_images) for other in others]
    hardest = max(pairs, key=lambda pair: np.nan_to_num(pair.theirs, nan=-1.0))
    if not np.isfinite(hardest.low):
        return _unmeasured(rule, f"no pixel counts for the student and for {hardest.whose}")
    if rule.not_worse_than is None:
        return Outcome(hardest.low > rule.margin, _gain_words(rule, hardest))
    return Outcome(hardest.low >= -rule.not_worse_than - ROUNDING, _loss_words(rule, hardest))


@dataclass(frozen=True)
class _Pair:
    """The student beside another, in points, on the images that both have."""

    whose: str
    mine: float
    theirs: float
    gain: Difference

    @staticmethod
    def of(rule: GateRule, student: SetCounts, other: Counted, min_images: int | None) -> "_Pair":
        counts = other.counts[str(rule.column)]
        keys = student.shared_keys(counts)
        mine, theirs = (
            PERCENT * score_of(side.of_keys(keys), rule.measure, min_images) for side in (student, counts)
        )
        gain = paired_difference(student, counts, rule.measure, min_images, rule.confidence)
        return _Pair(other.whose, mine, theirs, gain)

    @property
    def low(self) -> float:
        return PERCENT * self.gain.low

    @property
    def interval(self) -> str:
        share = f"{PERCENT * self.gain.confidence:.4g} %"
        ends = f"{self.low:+.2f} to {PERCENT * self.gain.high:+.2f}"
        return f"the gain's {share} interval over {self.gain.images} images is {ends}"


def _gain_words(rule: GateRule, pair: _Pair) -> str:
    gain = pair.mine - pair.theirs
    verb = "beats" if gain > 0 else "falls short of" if gain < 0 else "equals"
    by = f" by {abs(gain):.2f}" if gain else ""
    shown = "" if pair.low > rule.margin else ", which is not shown"
    compared = f"{rule.metric} {pair.mine:.2f} {verb} {pair.whose} {pair.theirs:.2f}{by}"
    return f"{compared}; {pair.interval} (needed: all above {rule.margin:.2f}{shown})"


def _loss_words(rule: GateRule, pair: _Pair) -> str:
    allowed = float(rule.not_worse_than or 0)
    verb = "is not" if pair.low >= -allowed - ROUNDING else "may be"
    compared = f"{rule.metric} {pair.mine:.2f} {verb} worse than {pair.whose} {pair.theirs:.2f}"
    return f"{compared} by more than {allowed:.2f}; {pair.interval}"
