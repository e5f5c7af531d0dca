"""Whole students, by phreg's own trainer in this process, and how they segment."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.real.measure import measure, result_path
from benchmarks.real.protocols import Bench
from benchmarks.real.trunk import Trunk
from phreg.cache import TargetStore
from phreg.config.run import StudentConfig, TeacherConfig, TrainingConfig
from phreg.data import shard_name
from phreg.distill.job import ShardRef, StudentJob
from phreg.distill.trainer import train_student
from phreg.models import load_student
from phreg.storage import Folder


def job_of(
    student: StudentConfig, teacher: TeacherConfig, cache: str, digest: str, shards: Sequence[str], held: str
) -> StudentJob:
    """The job that `phreg run` would make of it."""
    store = TargetStore.open(Folder(cache), digest)
    records = store.records([shard_name(url) for url in (*shards, held)])

    def reference(url: str) -> ShardRef:
        name = shard_name(url)
        return ShardRef(name, url, records[name].shard_digest)

    settings = TrainingConfig(checkpoint_every=25, validate_every=1000)
    return StudentJob(
        student, teacher, settings, cache, digest, tuple(map(reference, shards)), (reference(held),)
    )


def whole_student(
    name: str, job: StudentJob, read_as: Sequence[str], benches: Sequence[Bench], out: Path
) -> None:
    """Trained, or gone on with; then measured under each read-out, in the precision of its training."""
    missing = [
        (bench, read_out)
        for bench in benches
        for read_out in read_as
        if not result_path(out, f"{name}, read {read_out}", bench).exists()
    ]
    if not missing:
        return
    report = train_student(job, Folder(str(out)))
    print(f"{name}: {report.steps} steps, {report.seconds:.0f} s, {report.validation_loss}", flush=True)
    trunk = Trunk(load_student(f"{report.url}/model"), job.student.precision)
    for bench, read_out in missing:
        measure(f"{name}, read {read_out}", trunk.read(read_out), bench, out)
