"""Rules on labelled sets: what is more than chance passes, what is worse does not, and why is said."""

import re
from dataclasses import replace

import numpy as np
import pytest

from phreg.config.gate import GateRule
from phreg.evaluate.bootstrap import paired_difference
from phreg.evaluate.set_counts import SetCounts
from phreg.registry import Counted, LabelledSides, Verdict, judge

IMAGES = 40


def counts(right: float, spread: float = 0.0, images: int = IMAGES, seed: int = 0) -> SetCounts:
    """Two classes of 1000 pixels an image, of which about this share is right, more in some images."""
    shares = np.clip(right + spread * np.random.default_rng(seed).standard_normal(images), 0, 1)
    hits = (1000 * shares).astype(np.int64)
    of_class = np.stack([hits, np.full(images, 1000), np.full(images, 1000)], -1)
    return SetCounts(tuple(f"image {i}" for i in range(images)), np.stack([of_class, of_class], 1))


def side(whose: str, found: SetCounts | None, **failures: str) -> Counted:
    return Counted(whose, {} if found is None else {"voc": found}, failures)


def sides(
    student: SetCounts | None, *teachers: SetCounts, champion: SetCounts | None = None
) -> LabelledSides:
    held = () if champion is None else (side("the champion's", champion),)
    rivals = tuple(side(f"the teacher's ({i})", found) for i, found in enumerate(teachers))
    return LabelledSides(side("the student's", student), rivals, held, {"voc": None})


def judged(found: LabelledSides | None, **rule: object) -> Verdict:
    rules = [GateRule.model_validate({"metric": "voc.miou"} | rule)]
    return judge(rules, student={}, teacher={}, champion=None, labelled=found)


def test_a_gain_counts_if_its_whole_interval_is_above_the_margin() -> None:
    student, teacher = counts(0.7, 0.1, seed=1), counts(0.6, 0.1)
    gain = paired_difference(student, teacher, "mIoU", None, 0.95)
    assert judged(sides(student, teacher)).promoted
    assert judged(sides(student, teacher), margin=100 * gain.low - 0.01).promoted
    refused = judged(sides(student, teacher), margin=100 * gain.low + 0.01)
    assert not refused.promoted
    assert gain.value > gain.low, "though it is larger than the margin"
    assert "which is not shown" in refused.reason
    assert judged(sides(student, teacher), margin=100 * gain.low + 0.01, confidence=0.5).promoted


def test_what_equals_has_gained_nothing_and_is_not_worse() -> None:
    same = counts(0.6, 0.1)
    assert not judged(sides(same, same)).promoted
    assert judged(sides(same, same), not_worse_than=0).promoted
    assert "equals" in judged(sides(same, same)).reason


def test_a_loss_is_allowed_as_far_as_the_interval_shows_it_to_be_small() -> None:
    student, teacher = counts(0.59, 0.1, seed=1), counts(0.6, 0.1)
    loss = -100 * paired_difference(student, teacher, "mIoU", None, 0.95).low
    assert judged(sides(student, teacher), not_worse_than=loss + 0.01).promoted
    refused = judged(sides(student, teacher), not_worse_than=loss - 0.01)
    assert not refused.promoted
    assert "may be worse than the teacher's" in refused.reason
    assert not refused.provisional


def test_a_student_that_segments_worse_is_not_promoted_whatever_else_is_better() -> None:
    """As `unlock-everything` of benchmarks/README.md."""
    rules = [GateRule(metric="target_cosine_p50"), GateRule(metric="voc.miou", not_worse_than=0.5)]
    found = sides(counts(0.55, 0.1), counts(0.6, 0.1))
    better = {"target_cosine_p50": 0.99}
    verdict = judge(rules, student=better, teacher={"target_cosine_p50": 0.9}, champion=None, labelled=found)
    assert not verdict.promoted
    assert "beats" in verdict.reasons[0]


def test_the_better_of_the_teachers_counts() -> None:
    student, weak, strong = counts(0.6, 0.1, seed=1), counts(0.4, 0.1), counts(0.7, 0.1)
    assert judged(sides(student, weak)).promoted
    for teachers in ((weak, strong), (strong, weak)):
        verdict = judged(sides(student, *teachers))
        assert not verdict.promoted
        assert f"({teachers.index(strong)})" in verdict.reason


def test_the_reason_gives_scores_and_interval() -> None:
    student, teacher = counts(0.7, 0.1, seed=1), counts(0.6, 0.1)
    reason = judged(sides(student, teacher), margin=1.5).reason
    found = re.fullmatch(
        r"voc mIoU (\S+) beats the teacher's \(0\) (\S+) by (\S+); the gain's 95 % interval over 40 images "
        r"is \+(\S+) to \+(\S+) \(needed: all above 1\.50\)",
        reason,
    )
    assert found
    mine, theirs, gain, low, high = map(float, found.groups())
    assert gain == pytest.approx(mine - theirs, abs=0.011)
    assert low < gain < high


def test_methods_are_compared_on_the_images_that_both_have() -> None:
    student, teacher = counts(0.7, 0.1, seed=1), counts(0.6, 0.1)
    half = student.of_keys(student.keys[:20])
    assert "over 20 images" in judged(sides(half, teacher)).reason
    other = replace(student, keys=tuple(f"other {i}" for i in range(IMAGES)))
    verdict = judged(sides(other, teacher))
    assert not verdict.promoted
    assert verdict.provisional


def test_without_a_champion_its_rules_pass_and_then_they_count() -> None:
    student, better = counts(0.6, 0.1), counts(0.7, 0.1)
    first = judged(sides(student, better), against="champion")
    assert first.promoted
    assert "no champion yet" in first.reason
    assert not judged(sides(student, better, champion=better), against="champion").promoted
    assert judged(sides(better, better, champion=student), against="champion").promoted


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "the labelled set voc is not there"),
        (sides(None, counts(0.5)), "the student's cannot be had: it was not measured"),
        (
            replace(sides(counts(0.5)), teacher=(side("the teacher's", None, voc="no label counts"),)),
            "the teacher's cannot be had: no label counts",
        ),
    ],
)
@pytest.mark.parametrize("rule", [{}, {"margin": -100}, {"not_worse_than": 100}])
def test_what_was_not_measured_refuses_for_the_time_being(
    found: LabelledSides | None, said: str, rule: dict
) -> None:
    verdict = judged(found, **rule)
    assert not verdict.promoted
    assert verdict.provisional
    assert said in verdict.reason
