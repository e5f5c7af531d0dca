"""What a run says of its students."""

from types import SimpleNamespace

import pytest

from phreg.distill.result import StudentReport
from phreg.distill.skipped import SkippedStep, SkippedSteps
from phreg.pipeline.report import RunReport, reuse_lines


def lines(skipped: SkippedSteps, reused: bool) -> list[str]:
    report = StudentReport("a", "d", reused, 27, None, 1.0, {}, {}, "/", skipped)
    outcome = SimpleNamespace(
        report=report,
        registered=SimpleNamespace(version=1, reused=reused),
        assessment=SimpleNamespace(teacher_forward_passes=0),
        page=None,
    )
    return reuse_lines(RunReport("run", {}, SimpleNamespace(forward_passes=0), (outcome,)))


@pytest.mark.parametrize("reused", [False, True])
def test_skipped_steps_are_reported_where_there_are_any(reused: bool) -> None:
    trained = "reused" if reused else "trained for 27 steps"
    entry = f"version 1 {'reused' if reused else 'registered'}"
    assert lines(SkippedSteps(), reused)[0] == f"student a: {trained}; {entry}"
    skipped = SkippedSteps() + SkippedStep(5, "loss nan", ("k",)) + SkippedStep(9, "loss inf", ("k",))
    expected = f"student a: {trained}, 2 steps skipped (5, 9): no finite loss; {entry}"
    assert lines(skipped, reused)[0] == expected
