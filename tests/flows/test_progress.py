"""The lines of progress in the log."""

import logging

import pytest

from flows.progress import student_logger
from phreg.distill.progress import StudentProgress


@pytest.mark.parametrize(("skipped", "words"), [(0, "step 7/9, loss"), (3, "step 7/9, 3 skipped, loss")])
def test_skipped_steps_are_told_where_there_are_any(
    skipped: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        student_logger(logging.getLogger("run"), "a")(StudentProgress(7, 9, 0.5, 10.0, 2.0, skipped))
    assert words in caplog.text
