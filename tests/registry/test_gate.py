"""The gate's verdicts: direction, margins, absences, and that better never hurts."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.config.run import GateConfig, GateRule
from phreg.registry import judge
from phreg.types import HIGHER_IS_BETTER

METRICS = st.fixed_dictionaries(
    {}, optional={name: st.floats(-1, 1) for name in HIGHER_IS_BETTER} | {"unknown": st.floats(-1, 1)}
)
RULES = st.lists(
    st.builds(
        GateRule,
        metric=st.sampled_from(sorted(HIGHER_IS_BETTER)),
        against=st.sampled_from(["teacher", "champion"]),
        margin=st.floats(-1, 1),
    ),
    max_size=4,
)


def test_the_reason_gives_the_numbers() -> None:
    verdict = judge(
        [GateRule(metric="shift_cosine_mean")],
        student={"shift_cosine_mean": 0.912},
        teacher={"shift_cosine_mean": 0.871},
        champion=None,
    )
    assert verdict.promoted
    assert verdict.reasons == ("shift_cosine_mean 0.912 beats the teacher's 0.871 by 0.041 (needed 0.000)",)


def test_another_read_out_is_not_held_against_the_teacher_s_targets() -> None:
    """A `value` student of a `naclip` teacher, by the default rules: as in our benchmarks."""
    student = {"shift_cosine_mean": 0.9971, "target_cosine_p50": 0.9782}
    teacher = {"shift_cosine_mean": 0.9956, "target_cosine_p50": 0.9978}
    rules = GateConfig().rules
    assert not judge(rules, student=student, teacher=teacher, champion=None).promoted
    verdict = judge(rules, student=student, teacher=teacher, champion=None, as_teacher=False)
    assert verdict.promoted
    assert "target_cosine_p50: not held against the teacher's" in verdict.reason
    better = {"target_cosine_p50": 0.98}
    assert not judge(rules, student=student, teacher=teacher, champion=better, as_teacher=False).promoted


@settings(max_examples=100, deadline=None)
@given(
    rules=RULES,
    student=METRICS,
    teacher=METRICS,
    champion=st.none() | METRICS,
    name=st.sampled_from(sorted(HIGHER_IS_BETTER)),
    gain=st.floats(0, 2),
)
def test_a_better_metric_never_turns_promotion_into_refusal(
    rules: list[GateRule],
    student: dict[str, float],
    teacher: dict[str, float],
    champion: dict[str, float] | None,
    name: str,
    gain: float,
) -> None:
    before = judge(rules, student=student, teacher=teacher, champion=champion)
    better = dict(student)
    if name in better:
        better[name] += gain if HIGHER_IS_BETTER[name] else -gain
    after = judge(rules, student=better, teacher=teacher, champion=champion)
    assert after.promoted or not before.promoted
    assert len(after.reasons) == max(len(rules), 1)


@settings(max_examples=100, deadline=None)
@given(RULES, METRICS, METRICS, METRICS)
def test_all_rules_must_pass_whatever_their_order(
    rules: list[GateRule], student: dict[str, float], teacher: dict[str, float], champion: dict[str, float]
) -> None:
    metrics = {"student": student, "teacher": teacher, "champion": champion}
    together = judge(rules, **metrics)
    assert together.promoted == all(judge([rule], **metrics).promoted for rule in rules)
    assert judge(rules[::-1], **metrics).promoted == together.promoted


@pytest.mark.parametrize("name", sorted(HIGHER_IS_BETTER))
def test_each_metric_is_judged_in_its_own_direction(name: str) -> None:
    def promoted(mine: float, theirs: float, margin: float = 0.0) -> bool:
        rule = GateRule(metric=name, margin=margin)
        return judge([rule], student={name: mine}, teacher={name: theirs}, champion=None).promoted

    better, worse = (0.75, 0.5) if HIGHER_IS_BETTER[name] else (0.5, 0.75)
    assert promoted(better, worse)
    assert not promoted(worse, better)
    assert promoted(better, better), "exactly the margin passes"
    assert promoted(better, worse, margin=0.25)
    assert not promoted(better, worse, margin=0.3)
    assert promoted(worse, better, margin=-0.25), "a negative margin allows a loss"


def test_without_a_champion_its_rules_pass_and_the_teachers_still_count() -> None:
    good = {"shift_cosine_mean": 0.9, "target_cosine_p50": 0.9}
    bad = {"shift_cosine_mean": 0.8, "target_cosine_p50": 0.8}
    rules = GateConfig().rules
    first = judge(rules, student=good, teacher=bad, champion=None)
    assert first.promoted
    assert "no champion yet" in first.reasons[-1]
    assert not judge(rules, student=bad, teacher=good, champion=None).promoted
    assert not judge(rules, student=good, teacher=bad, champion={"target_cosine_p50": 0.95}).promoted


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("broken", [None, math.nan, math.inf, -math.inf])
def test_an_absent_or_non_finite_metric_refuses(side: str, broken: float | None) -> None:
    metrics = {"student": {"outlier_rate": 0.1}, "teacher": {"outlier_rate": 0.1}}
    metrics[side] = {} if broken is None else {"outlier_rate": broken}
    rule = GateRule(metric="outlier_rate", margin=-1.0)
    verdict = judge([rule], student=metrics["student"], teacher=metrics["teacher"], champion=None)
    assert not verdict.promoted
    assert side in verdict.reason


def test_a_close_call_shows_the_digits_that_decide() -> None:
    verdict = judge(
        [GateRule(metric="target_cosine_p50", margin=0.001)],
        student={"target_cosine_p50": 0.9123999},
        teacher={"target_cosine_p50": 0.9114},
        champion=None,
    )
    assert not verdict.promoted
    assert "0.9123999" in verdict.reason
    assert "by 0.0009999" in verdict.reason
    assert verdict.reason.endswith("too little")


def test_a_gain_that_rounding_puts_below_the_margin_passes() -> None:
    rule = GateRule(metric="outlier_rate", margin=0.1)
    assert 0.9 - 0.8 < 0.1
    assert judge([rule], student={"outlier_rate": 0.8}, teacher={"outlier_rate": 0.9}, champion=None).promoted
