"""What is told of progress, and who hears it."""

import threading

from phreg.distill.progress import StudentProgress
from phreg.progress import Progress, about, heard_by, subject, tell, under


def test_who_listens_hears_what_is_told_around_it_and_no_other_thread_s() -> None:
    tell("nobody", 1, 2)
    outer: list[Progress] = []
    inner: list[Progress] = []
    with heard_by(outer.append):
        tell("measuring", 1, 4)
        with heard_by(inner.append):
            tell("segmenting", 2, 3)
        thread = threading.Thread(target=tell, args=("elsewhere",))
        thread.start()
        thread.join()
        with under("VOC21"), under("set"):
            tell("reading", 5, 6, "files")
        with heard_by(None):
            tell("silent")
    with under("no listener"):
        tell("nobody")
    assert outer == [Progress("measuring", 1, 4), Progress("reading", 5, 6, "files", head="VOC21, set")]
    assert inner == [Progress("segmenting", 2, 3)]


def test_a_student_s_progress_says_its_skipped_steps_where_there_are_any() -> None:
    plain, skipped = (StudentProgress(7, 9, 0.5, 10.0, 2.0, n).as_progress() for n in (0, 3))
    assert plain.note == "loss 0.5000, 10.0 crops/s"
    assert skipped.note == "3 skipped, loss 0.5000, 10.0 crops/s"
    assert not plain.final
    assert StudentProgress(9, 9, 0.5, 10.0, 0.0).as_progress().final


def test_what_the_work_is_of_is_known_inside_its_block() -> None:
    with about(run="photos"):
        with about(targets="raw", student="one"):
            assert subject() == {"run": "photos", "targets": "raw", "student": "one"}
        assert subject() == {"run": "photos"}
    assert subject() == {}
