"""`python -m benchmarks students`: many students of the small CLIP from one cache, alone and sharing batches.

Two sides in one run, by one process of `--threads` threads: each student trained by itself, one after the
other, and all of them from the same batches. They differ in registers; their weights are compared, and must
be equal bit for bit. `floor` is the time of forward and backward passes alone (one batch again and again),
which sharing cannot save: the ratio that it allows stands beside the one that was reached.

Images are drawn scenes; `--photos` takes shards of others, the last of which is held out.
"""

import argparse
import csv
import itertools
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from phreg.cache import TargetStore
from phreg.config.run import RunConfig, parse_config
from phreg.data import expand_urls
from phreg.demo.world.write import shard_bytes
from phreg.distill.job import StudentJob
from phreg.distill.samples import open_samples
from phreg.distill.state import TrainingState
from phreg.distill.step import batch_loss, training_step
from phreg.distill.stream import held_out_batches
from phreg.distill.student import build_student
from phreg.distill.trainer import train_students
from phreg.distill.workers import Workers
from phreg.generate import TargetGenerator
from phreg.models import load_teacher
from phreg.pipeline.prepare import prepare
from phreg.pipeline.students import student_jobs
from phreg.report.markdown import markdown_table
from phreg.storage import Folder

COUNTS = (1, 2, 4, 8)
TIMES = 20  # that the floor's step is made


class Seconds(NamedTuple):
    """By the clock, and of CPU: the second depends less on what else the machine does."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s, {self.cpu:.1f} of CPU"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks students", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--photos", nargs="+", help="shards: URLs, brace ranges, globs; the last is held out")
    parser.add_argument("--images", type=int, default=480, help="drawn scenes, a sixth of them held out")
    parser.add_argument("--image-size", type=int, default=64, help="pixels; the small CLIP's own are 64")
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--validate-every", type=int, default=25, help="steps")
    parser.add_argument("--threads", type=int, default=1, help="of torch: a worker's CPUs")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="numbers of students")
    parser.add_argument("--csv", help="a file to write the rows to, as well")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        jobs = _jobs(Path(folder), options)
        rows = [_row(jobs[:count], Path(folder) / str(count)) for count in options.counts]
    about = (
        f"torch {torch.__version__}, {os.cpu_count()} cores ({platform.machine()}), {options.threads} threads"
    )
    print(f"{about}, {options.image_size} px, {'photos' if options.photos else 'drawn scenes'}\n")
    print(markdown_table(list(rows[0]), [list(row.values()) for row in rows]))
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([["machine", *rows[0]], *([about, *row.values()] for row in rows)])
    print(f"ratio: {rows[-1]['ratio']}")
    return 0


def _row(jobs: Sequence[StudentJob], folder: Path) -> dict[str, str]:
    """Both sides for so many students."""
    alone, shared = Folder(str(folder / "alone")), Folder(str(folder / "shared"))
    one_by_one = _timed(lambda: [train_students([job], alone) for job in jobs])
    together = _timed(lambda: train_students(jobs, shared))
    for job in jobs:
        weights = [job.folder(output).read("model/model.safetensors") for output in (alone, shared)]
        if weights[0] != weights[1]:
            sys.exit(f"the weights of {job.student.name} differ")
    floor = _sum(_floor(job) for job in jobs)
    return {
        "students": str(len(jobs)),
        "one after the other": str(one_by_one),
        "shared": str(together),
        "floor": str(floor),
        "students an hour, shared": f"{3600 * len(jobs) / together.wall:.0f}",
        "ratio at the floor, of CPU": f"{one_by_one.cpu / floor.cpu:.2f}",
        "ratio of CPU": f"{one_by_one.cpu / together.cpu:.2f}",
        "ratio": f"{one_by_one.wall / together.wall:.2f}",
    }


def _floor(job: StudentJob) -> Seconds:
    """Of all training steps and validations of a student, their batches at hand, at the pace of some."""
    store = TargetStore.open(Folder(job.cache_url), job.target_digest)
    train, held_out = open_samples(store, job.train), open_samples(store, job.validation)
    size, workers = job.student.batch_size, Workers()
    batch = next(iter(held_out_batches(held_out, range(size), size))).on(workers.device)
    state = TrainingState.fresh(build_student(job, store.spec), job.student)

    def steps(count: int) -> None:
        for number in range(count):
            training_step(state.student, state.optimizer, batch, job.student, workers, number + 1)

    @torch.no_grad()
    def forward(count: int) -> None:
        for _ in range(count):
            batch_loss(state.student, batch, job.student.precision, workers.device)

    steps(2)
    total = int(sum(train.rows) // size * job.student.epochs)
    validated = math.ceil(total / job.training.validate_every) * sum(held_out.rows) / size
    step, pass_ = (_timed(lambda work=work: work(TIMES)) for work in (steps, forward))
    return Seconds(*((total * a + validated * b) / TIMES for a, b in zip(step, pass_, strict=True)))


def _timed(work: Callable[[], object]) -> Seconds:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def _sum(parts: Iterable[Seconds]) -> Seconds:
    return Seconds(*map(sum, zip(*parts, strict=True)))


def _jobs(folder: Path, options: argparse.Namespace) -> list[StudentJob]:
    """The most students that are asked for, and their targets: of one view, which are as large as others."""
    photos = expand_urls(options.photos) if options.photos else _scenes(folder, options.images)
    config = parse_config(
        {
            "name": "students",
            "images": list(photos[:-1]),
            "validation": photos[-1],
            "output": str(folder / "run"),
            "teacher": {"model": "phreg/small-clip", "image_size": options.image_size, "read_out": "naclip"},
            "targets": {"raw": {"views": 1}},
            "students": [
                {"name": f"s{number}", "targets": "raw", "registers": 1 + number, "epochs": options.epochs}
                for number in range(max(options.counts))
            ],
            "training": {"validate_every": options.validate_every},
            "device": "cpu",
        }
    )
    return _with_targets(config)


def _with_targets(config: RunConfig) -> list[StudentJob]:
    config = config.on("cpu")
    prepared = prepare(config)
    store = TargetStore.open(Folder(config.cache_url), prepared.targets["raw"])
    generator = TargetGenerator(lambda: load_teacher(config.teacher), store)
    for url in itertools.chain(prepared.train, prepared.validation):
        generator.generate(url)
    return student_jobs(config, prepared, config.students)


def _scenes(folder: Path, images: int) -> list[str]:
    shards = []
    for number in range(6):
        shards.append(folder / f"scenes-{number}.tar")
        begin, end = (images * place // 6 for place in (number, number + 1))
        shards[-1].write_bytes(shard_bytes(0, range(begin, end)))
    return [str(path) for path in shards]
