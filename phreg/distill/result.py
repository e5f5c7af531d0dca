"""The finished student: its files, and the record that commits them."""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from phreg.distill.job import StudentJob
from phreg.distill.skipped import NONE_SKIPPED, SkippedSteps
from phreg.errors import ObjectNotFoundError, StorageError
from phreg.fingerprint import digest_bytes
from phreg.storage import Folder
from phreg.storage.checksummed import from_checksummed_json, to_checksummed_json

RESULT = "result.json"
CURVE = "curve.jsonl"
CURVE_SO_FAR = "curve-so-far.jsonl"  # while it is trained; never in place of a finished one's
INTERRUPTED_S = 3600.0  # a write that is older has ended

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudentReport:
    """What came of a job. Losses are {cosine, mse, total}: of the last step, and on the held-out crops.

    `reused`: it was finished before. `resumed_from`: the step of the checkpoint it went on from, if any.
    `seconds`: time trained, all attempts together. `url`: the job's folder. `skipped_steps` are among
    `steps`.
    """

    name: str
    digest: str
    reused: bool
    steps: int
    resumed_from: int | None
    seconds: float
    train_loss: dict[str, float]
    validation_loss: dict[str, float]
    url: str
    skipped_steps: SkippedSteps = NONE_SKIPPED

    def to_plain(self) -> dict[str, Any]:
        """For a record, which lies in the folder that `url` names: a URL may carry credentials."""
        return {name: value for name, value in asdict(self).items() if name != "url"}

    @staticmethod
    def from_plain(data: Mapping[str, Any], url: str) -> "StudentReport":
        """From a record's JSON in the folder at `url`."""
        skipped = SkippedSteps.from_plain(data["skipped_steps"])
        return StudentReport(**dict(data) | {"skipped_steps": skipped, "url": url})


def publish(
    job: StudentJob, folder: Folder, model_files: dict[str, bytes], curve: str, report: StudentReport
) -> None:
    """Put model and curve, and last the record that makes them a finished student."""
    files = {f"model/{name}": data for name, data in model_files.items()} | {CURVE: curve.encode()}
    for path, data in files.items():
        folder.write(path, data)
    record = {
        "job": job.identity,
        "report": report.to_plain(),
        "files": {path: digest_bytes(data) for path, data in files.items()},
    }
    folder.write(RESULT, to_checksummed_json(record))


def reused_report(job: StudentJob, output: Folder) -> StudentReport | None:
    """`finished_report`; what the run that finished it did not come to remove goes then."""
    report = finished_report(job, output)
    if report is not None:
        remove_checkpoints(job, output)
    return report


def remove_checkpoints(job: StudentJob, output: Folder) -> None:
    """Of a finished student: what only served to go on, unless that is to be kept.

    One by one, as another run may be writing its own; it removes them when it ends. What cannot be removed
    is named in the log.
    """
    if job.training.keep_checkpoints:
        return
    folder = job.folder(output)
    try:
        there = folder.children()
        if "checkpoints" in there:
            begun = [item.path for item in folder.list("checkpoints")]
            old = time.time() - INTERRUPTED_S
            for item in (folder / "checkpoints").interrupted():
                begun += [f"checkpoints/{item.path}"] if item.modified < old else []
            for path in begun:
                folder.remove(path)
        if CURVE_SO_FAR in there:
            folder.remove(CURVE_SO_FAR)
    except StorageError as error:
        logger.warning("checkpoints of the finished student %s are left: %s", job.student.name, error)


def finished_report(job: StudentJob, output: Folder) -> StudentReport | None:
    """The report of a job whose record and files are all there and whole; otherwise there is work to do:
    what is damaged is named in the log, and made anew, from the last checkpoint if that was kept."""
    folder = job.folder(output)
    try:
        record = from_checksummed_json(folder.read(RESULT))
        report = StudentReport.from_plain(record["report"], folder.url)
        damaged = [path for path, digest in record["files"].items() if not _is_whole(folder, path, digest)]
    except ObjectNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s is damaged (%s); the student is finished anew", folder.shown(RESULT), error)
        return None
    for path in damaged:
        logger.warning("%s is damaged or gone; the student is finished anew", folder.shown(path))
    if damaged or report.digest != job.digest:
        return None
    return replace(report, name=job.student.name, reused=True)


def _is_whole(folder: Folder, path: str, digest: str) -> bool:
    try:
        return digest_bytes(folder.read(path)) == digest
    except ObjectNotFoundError:
        return False
