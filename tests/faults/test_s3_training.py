"""Training from and to an S3 that fails: the weights and the curve are those of an undisturbed run."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from phreg.distill.checkpoint import checkpoint_steps
from phreg.distill.job import StudentJob
from phreg.distill.trainer import train_student
from phreg.errors import StorageError
from phreg.storage import Folder, read_url
from tests.distill.jobs import make_job
from tests.distill.test_trainer import outcome
from tests.faults.ledger import trial
from tests.faults.s3_faults import answer, cut, expired, lose_reply, reset, stale
from tests.faults.s3_proxy import LISTING, Fault, S3Proxy

Outcome = dict[str, bytes]
FAULTS: dict[str, list[Callable[[S3Proxy], Fault]]] = {
    "targets and images end early": [
        lambda p: p.fault(cut(), "GET", "/data/.*/features", 3),
        lambda p: p.fault(cut(), "GET", "[.]tar", 3),
    ],
    "500 and SlowDown": [
        lambda p: p.fault(answer(500, "InternalError"), "GET", "", 4, skip=6),
        lambda p: p.fault(answer(503, "SlowDown"), "PUT", "students", 4),
    ],
    "resets, and replies lost": [
        lambda p: p.fault(reset, "GET", "", 3, skip=9),
        lambda p: p.fault(lose_reply, "PUT", "checkpoints", 2),
        lambda p: p.fault(lose_reply, "PUT", "result.json"),
    ],
}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> StudentJob:
    return make_job(tmp_path_factory.mktemp("world"), shards=2, images=4, epochs=2)


@pytest.fixture(scope="module")
def undisturbed(job: StudentJob, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    output = Folder(str(tmp_path_factory.mktemp("output")))
    train_student(job, output)
    return outcome(job, output)


def on_s3(job: StudentJob, folder: Folder) -> StudentJob:
    """The same job, its cache and shards in a bucket."""
    cache = Folder(job.cache_url)
    for item in cache.list():
        (folder / "cache").write(item.path, cache.read(item.path))

    def moved(ref):  # type: ignore[no-untyped-def]
        name = Path(ref.url).name
        folder.write(name, read_url(ref.url))
        return dataclasses.replace(ref, url=folder.url_of(name))

    refs = {"train": tuple(map(moved, job.train)), "validation": tuple(map(moved, job.validation))}
    return dataclasses.replace(job, cache_url=folder.url_of("cache"), **refs)


@pytest.mark.parametrize("fault", FAULTS)
def test_training_outlives(
    job: StudentJob, undisturbed: Outcome, proxied_folder: Folder, s3_proxy: S3Proxy, fault: str
) -> None:
    there, output = on_s3(job, proxied_folder), proxied_folder / "output"
    with trial("S3", f"training: {fault}", "steps"):
        programmed = [program(s3_proxy) for program in FAULTS[fault]]
        train_student(there, output)
        s3_proxy.heal()
        assert all(f.hits for f in programmed)
        assert outcome(there, output) == undisturbed


def test_training_goes_on_after_credentials_expired(
    job: StudentJob, undisturbed: Outcome, proxied_folder: Folder, s3_proxy: S3Proxy
) -> None:
    there, output = on_s3(job, proxied_folder), proxied_folder / "output"
    with trial("S3", "training: credentials expire", "steps") as this:
        this.rerun = True
        s3_proxy.fault(expired(), "PUT", "checkpoints", None, skip=1)
        with pytest.raises(StorageError, match=r"checkpoints(?s:.)*renew"):
            train_student(there, output)
        s3_proxy.heal()
        kept = checkpoint_steps(there.folder(output))
        assert kept
        report = train_student(there, output)
        assert report.resumed_from == kept[0]
        this.repeated = job.training.checkpoint_every
        assert outcome(there, output) == undisturbed


def test_stale_listings_cost_steps_and_nothing_else(
    job: StudentJob, undisturbed: Outcome, proxied_folder: Folder, s3_proxy: S3Proxy
) -> None:
    """A resume that does not see its checkpoints begins anew."""
    there, output = on_s3(job, proxied_folder), proxied_folder / "output"
    with trial("S3", "training: stale listings", "steps") as this:
        this.rerun = True
        s3_proxy.fault(stale(3600), "GET", LISTING, None)
        s3_proxy.fault(expired(), "PUT", "result.json")
        with pytest.raises(StorageError):
            train_student(there, output)
        report = train_student(there, output)
        assert report.resumed_from is None
        this.repeated = report.steps
        assert outcome(there, output) == undisturbed
