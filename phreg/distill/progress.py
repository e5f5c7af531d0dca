"""How far a training is, and how fast."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from phreg.progress import Progress


@dataclass(frozen=True)
class StudentProgress:
    """`loss` of the last step that was made, NaN before there is one; `skipped`: steps that were not, in all.
    `remaining` in seconds, for the steps left at the rate so far. Of several `students` that share their
    batches, `loss` is the mean, `skipped` the sum.
    """

    step: int
    total_steps: int
    loss: float
    crops_per_second: float
    remaining: float
    skipped: int = 0
    students: int = 1

    @property
    def what(self) -> str:
        return "step"

    @property
    def final(self) -> bool:
        return self.step == self.total_steps

    def as_progress(self) -> Progress:
        """In the words that all progress is shown in."""
        skipped = f"{self.skipped} skipped, " if self.skipped else ""
        students = f"{self.students} students, " if self.students > 1 else ""
        note = f"{students}{skipped}loss {self.loss:.4f}, {self.crops_per_second:.1f} crops/s"
        return Progress(
            self.what, self.step, self.total_steps, "", remaining=self.remaining, note=note, final=self.final
        )


OnProgress = Callable[[StudentProgress], None]


class Pace:
    """Measures from its making on, so that an earlier attempt's steps do not count."""

    def __init__(self, first_step: int, total_steps: int, crops_per_step: int) -> None:
        self._first, self._total, self._crops = first_step, total_steps, crops_per_step
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def at(self, step: int, loss: float, skipped: int = 0, students: int = 1) -> StudentProgress:
        rate = (step - self._first) / max(self.seconds, 1e-9)
        remaining = (self._total - step) / rate
        return StudentProgress(step, self._total, loss, rate * self._crops, remaining, skipped, students)
