"""Which students share a worker: by what they read, and by how many places there are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phreg.config.run import RunConfig, parse_config
from phreg.distill.result import RESULT, StudentReport, publish
from phreg.errors import ConfigError
from phreg.pipeline import student_groups, students
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.student_groups import group_students
from phreg.storage import Folder
from tests.config.test_config import minimal
from tests.distill.jobs import make_job
from tests.faults.training import changed

PREPARED = Prepared(("a.tar",), ("b.tar",), {"denoised": "d", "same": "d", "raw": "r"})


def run_of(*students: dict[str, Any], **training: Any) -> RunConfig:
    named = [{"name": str(number), "targets": "denoised"} | each for number, each in enumerate(students)]
    targets: dict[str, Any] = {"denoised": {}, "same": {}, "raw": {"views": 1}}
    return parse_config(minimal() | {"targets": targets, "students": named, "training": training})


@pytest.fixture
def grouped(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    def names(config: RunConfig, places: int) -> list[list[str]]:
        monkeypatch.setattr(student_groups, "_places", lambda config: lambda: places)
        found = group_students(config, PREPARED)
        return [[student.name for student in group.students] for group in found.groups]

    return names


def test_those_that_see_the_same_batches_share_them(grouped: Callable[..., Any]) -> None:
    config = run_of(
        {}, {"registers": 4}, {"seed": 1}, {"targets": "raw"}, {"targets": "same", "unlock": ["registers"]},
        {"learning_rate": 1e-3, "precision": "bfloat16"}, {"batch_size": 8}, {"epochs": 2},
    )  # fmt: skip
    assert grouped(config, 1) == [["0", "1", "4", "5"], ["2"], ["3"], ["6"], ["7"]]


@pytest.mark.parametrize(
    ("students", "places", "sizes"),
    [(8, 1, [8]), (8, 2, [4, 4]), (8, 8, [1] * 8), (3, 2, [1, 2]), (3, 9, [1] * 3), (20, 1, [6, 7, 7])],
)
def test_no_place_is_left_empty_for_it(
    students: int, places: int, sizes: list[int], grouped: Callable[..., Any]
) -> None:
    found = grouped(run_of(*[{"registers": 1 + number} for number in range(students)]), places)
    assert [len(group) for group in found] == sizes
    assert [name for group in found for name in group] == [str(number) for number in range(students)]


def test_each_by_itself_where_it_is_asked_for(grouped: Callable[..., Any]) -> None:
    assert grouped(run_of({}, {"registers": 4}, students_per_worker=1), 1) == [["0"], ["1"]]
    with pytest.raises(ConfigError, match=r"training\.students_per_worker"):
        run_of({}, students_per_worker=0)


def test_nothing_is_asked_of_ray_where_one_student_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path)
    jobs = [job, changed(job, {}, name="b", registers=3), changed(job, {}, name="c", registers=4)]
    monkeypatch.setattr(student_groups, "student_jobs", lambda *_: jobs)
    monkeypatch.setattr(student_groups, "_places", lambda config: pytest.fail("asked"))
    config = run_of({"name": "a"}, {"name": "b", "registers": 3}, {"name": "c", "registers": 4})
    config = config.model_copy(update={"output": str(tmp_path / "output")})
    for done in jobs[:2]:
        done.folder(Folder(config.output)).write(RESULT, b"")
    found = group_students(config, PREPARED)
    assert [group.name for group in found.groups] == ["a", "b", "c"]
    assert found.train(lambda group: group.names) == ["a", "b", "c"]


def test_checkpoints_go_where_all_students_are_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was left of them, by a run that died at its end or was to keep them."""
    job = make_job(tmp_path)
    config = run_of({"name": "a"}).model_copy(update={"output": str(tmp_path / "output")})
    folder = job.folder(Folder(config.output))
    report = StudentReport("a", job.digest, False, 1, None, 1.0, {}, {}, folder.url)
    publish(job, folder, {"config.json": b"{}"}, "", report)
    folder.write("checkpoints/step-000000001.ckpt", b"")
    monkeypatch.setattr(students, "student_jobs", lambda *_: [job])
    (found,) = students.distil_students(config, PREPARED, config.students)
    assert isinstance(found, StudentReport)
    assert found.reused
    assert folder.list("checkpoints") == []
