"""What a run says of its students."""

from types import SimpleNamespace

import pytest

from phreg.distill.result import StudentReport
from phreg.distill.skipped import SkippedStep, SkippedSteps
from phreg.pipeline.methods import Labelled, Measured, Method
from phreg.pipeline.report import RunReport, reuse_lines, table


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


def outcome(name: str, labelled: Labelled) -> SimpleNamespace:
    return SimpleNamespace(
        report=SimpleNamespace(name=name, seconds=1.0),
        registered=SimpleNamespace(version=7, promoted=False, targets="denoised"),
        assessment=SimpleNamespace(evaluation=SimpleNamespace(metrics={"outlier_rate": 0.5})),
        labelled=labelled,
    )


def test_figures_stay_under_their_headings_where_labels_failed() -> None:
    beside = Labelled().add(Method("teacher", 0), Measured({"voc mIoU": 40.0, "nyu RMSE": 0.5}))
    measured = beside.add(Method("b", 0), Measured({"nyu RMSE": 0.25, "city mIoU": 30.0}))
    teacher = SimpleNamespace(metrics={"outlier_rate": 0.75})
    students = (outcome("a", beside), outcome("b", measured))
    rows = table(RunReport("run", {}, teacher, students, {"a": "it failed"}, beside))
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    shown = {row["model"]: row for row in rows}
    assert [shown[name]["version"] for name in ("teacher", "a", "b")] == ["", "7", "7"]
    assert [shown[name]["voc mIoU ↑"] for name in ("teacher", "a", "b")] == ["40", "", ""]
    assert [shown[name]["nyu RMSE ↓"] for name in ("teacher", "a", "b")] == ["0.5", "", "0.25"]
    assert [shown[name]["city mIoU ↑"] for name in ("teacher", "a", "b")] == ["", "", "30"]
