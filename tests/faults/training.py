"""Trainings in processes of their own, over gloo where there are several, which can be killed."""

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from phreg.distill.job import StudentJob
from phreg.distill.progress import StudentProgress
from phreg.distill.trainer import train_student
from phreg.distill.workers import Workers
from phreg.errors import TrainingError
from phreg.storage import Folder

PROCESSES = ForkServerContext()  # forks of a process that has imported all this
PROCESSES.set_forkserver_preload([__name__, "phreg.models"])
PATIENCE_S = 240.0


class Stopped(Exception):
    """A clean stop."""


@dataclass
class Attempt:
    """One start of all workers of a job. `folder` is where they meet and say how far they are."""

    job: StudentJob
    output: Path
    folder: Path
    stop_at: int | None = None  # the step after which the first worker stops by itself
    processes: list[BaseProcess] = field(default_factory=list)

    def __enter__(self) -> "Attempt":
        self.folder.mkdir(parents=True)
        for rank in range(self.job.training.workers):
            self.processes.append(PROCESSES.Process(target=_work, args=(rank, self._plain())))
            self.processes[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what is left, as Ray Train does with the others when one has died."""
        for process in self.processes:
            process.kill()
            process.join()

    @property
    def steps(self) -> list[int]:
        """The steps that the first worker reported, so far."""
        path = self.folder / "steps"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def outcome(self, rank: int) -> dict | None:
        """What a worker came to: its `report`, or its `error`."""
        path = self.folder / f"{rank}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def wait(self) -> None:
        """Until all have ended, by themselves."""
        for process in self.processes:
            process.join(PATIENCE_S)
            assert process.exitcode is not None, "it hangs"

    def kill(self, rank: int, after: int) -> bool:
        """SIGKILL a worker once a step is done; False if the training ended before."""
        end = time.monotonic() + PATIENCE_S
        while not self.steps or self.steps[-1] < after:
            if not self.processes[0].is_alive():
                return False
            assert time.monotonic() < end, f"step {after} never came: {self.steps[-3:]}"
            time.sleep(0.001)
        self.processes[rank].kill()
        self.processes[rank].join()
        return self.processes[rank].exitcode == -signal.SIGKILL

    def _plain(self) -> "Attempt":
        """What a worker needs of it."""
        return Attempt(self.job, self.output, self.folder, self.stop_at)


def _work(rank: int, attempt: Attempt) -> None:
    """In a worker."""
    assert len(os.listdir(f"/proc/{os.getppid()}/task")) == 1, "a fork of threads may hang"
    torch.set_num_threads(1)
    world = attempt.job.training.workers
    if world > 1:
        meeting = f"file://{attempt.folder}/meet"
        distributed.init_process_group("gloo", meeting, rank=rank, world_size=world)

    def on_progress(progress: StudentProgress) -> None:
        with (attempt.folder / "steps").open("a") as file:
            file.write(f"{progress.step}\n")
        if progress.step == attempt.stop_at:
            raise Stopped

    try:
        report = train_student(attempt.job, Folder(str(attempt.output)), Workers(rank, world), on_progress)
        outcome = {"report": asdict(report)}
    except TrainingError as error:
        outcome = {"error": str(error)}
    except Stopped:
        sys.exit(1)
    (attempt.folder / f"{rank}.json").write_text(json.dumps(outcome))


def changed(job: StudentJob, training: dict[str, Any], **student: Any) -> StudentJob:
    return replace(
        job,
        training=job.training.model_copy(update=training),
        student=job.student.model_copy(update=student),
    )


def attempted(job: StudentJob, folder: Path, name: str, **options: Any) -> Attempt:
    return Attempt(job, folder / "output", folder / name, **options)


def trained(job: StudentJob, folder: Path) -> Attempt:
    """A run that nobody disturbs."""
    with attempted(job, folder, "whole") as attempt:
        attempt.wait()
    return attempt
