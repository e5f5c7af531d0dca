"""Which students are trained by the same workers, and the groups of them side by side."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, TypeVar

from phreg.config.run import RunConfig, StudentConfig
from phreg.distill.result import RESULT
from phreg.errors import PhregError
from phreg.pipeline.prepare import Prepared
from phreg.pipeline.students import student_jobs
from phreg.storage import Folder

Result = TypeVar("Result")


@dataclass(frozen=True)
class StudentGroup:
    """Students that read the same crops in the same order, and share their batches."""

    students: tuple[StudentConfig, ...]

    @property
    def name(self) -> str:
        """`one`, or `one and 3 more`."""
        more = len(self.students) - 1
        return self.students[0].name + (f" and {more} more" if more else "")

    @property
    def names(self) -> str:
        return ", ".join(student.name for student in self.students)


@dataclass(frozen=True)
class StudentGroups:
    """All students of a run. `places()`: how many groups there is room for at once, now; None without a
    question, where no two groups are to be trained."""

    groups: tuple[StudentGroup, ...]
    places: Callable[[], int] | None

    def train(self, work: Callable[[StudentGroup], Result]) -> list[Result | Exception]:
        """What came of each, side by side where there is room for several."""
        from phreg.execution.side_by_side import one_by_one, side_by_side

        works = [lambda group=group: work(group) for group in self.groups]
        return one_by_one(works) if self.places is None else side_by_side(works, self.places)


def group_students(config: RunConfig, prepared: Prepared) -> StudentGroups:
    """As many groups as there is room for side by side, and then as large as that leaves them.

    Students that are finished stand alone: nothing is to be done for them, and no Ray is needed.
    """
    finished = _finished(config, prepared)
    left = [student for student in config.students if student.name not in finished]
    if len(left) < 2:
        return StudentGroups(tuple(StudentGroup((student,)) for student in config.students), None)
    places = _places(config)
    most = math.ceil(len(left) / max(places(), 1))
    groups = [
        group
        for alike in _alike(left, prepared)
        for group in _split(alike, min(most, config.training.students_per_worker))
    ]
    done = [StudentGroup((student,)) for student in config.students if student.name in finished]
    alone = len(groups) < 2 or config.training.parallel_students == 1
    return StudentGroups((*done, *groups), None if alone else places)


def _places(config: RunConfig) -> Callable[[], int]:
    if config.training.parallel_students == 1:
        return lambda: 1
    from phreg.execution.cluster import connect
    from phreg.execution.train import student_places

    with connect(config.ray_address):
        return student_places(config.training)


def _finished(config: RunConfig, prepared: Prepared) -> set[str]:
    """Names of those that have a result. What is wrong with the others, their training will say."""
    found = set[str]()
    for _, some in groupby(sorted(config.students, key=_targets), _targets):
        students = list(some)
        try:
            jobs = student_jobs(config, prepared, students)
            found |= {job.student.name for job in jobs if job.folder(Folder(config.output)).exists(RESULT)}
        except PhregError:
            continue
    return found


def _targets(student: StudentConfig) -> str:
    return student.targets


def _alike(students: Iterable[StudentConfig], prepared: Prepared) -> Iterable[list[StudentConfig]]:
    """Those that see the same batches (see `StudentJob.batches`), in the order of the first of each kind."""
    kinds: dict[Any, list[StudentConfig]] = {}
    for student in students:
        kind = prepared.targets[student.targets], student.seed, student.batch_size, student.epochs
        kinds.setdefault(kind, []).append(student)
    return kinds.values()


def _split(students: Sequence[StudentConfig], most: int) -> list[StudentGroup]:
    """Nearly equal groups of at most so many."""
    count = math.ceil(len(students) / most)
    ends = [len(students) * number // count for number in range(count + 1)]
    return [StudentGroup(tuple(students[begin:end])) for begin, end in pairwise(ends)]
