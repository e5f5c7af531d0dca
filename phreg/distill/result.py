"""The finished student: its files, and the record that commits them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from phreg.distill.job import StudentJob
from phreg.distill.skipped import NONE_SKIPPED, SkippedSteps
from phreg.errors import ObjectNotFoundError
from phreg.fingerprint import digest_bytes
from phreg.storage import Folder

RESULT = "result.json"
CURVE = "curve.jsonl"


@dataclass(frozen=True)
class StudentReport:
    """What came of a job. Losses are {cosine, mse, total}: of the last step, and on the held-out crops.

    `reused`: it was finished before. `resumed_from`: the step of the checkpoint it went on from, if any.
    `seconds`: time trained, all attempts together. `url`: the job's folder. `skipped_steps` are among
    `steps`; records older than them have none.
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

    @staticmethod
    def from_plain(data: Mapping[str, Any]) -> "StudentReport":
        """From a record's JSON."""
        skipped = SkippedSteps.from_plain(data.get("skipped_steps", {}))
        return StudentReport(**dict(data) | {"skipped_steps": skipped})


def publish(
    job: StudentJob, folder: Folder, model_files: dict[str, bytes], curve: str, report: StudentReport
) -> None:
    """Put model and curve, and last the record that makes them a finished student."""
    files = {f"model/{name}": data for name, data in model_files.items()} | {CURVE: curve.encode()}
    for path, data in files.items():
        folder.write(path, data)
    record = {
        "job": job.identity,
        "report": asdict(report),
        "files": {path: digest_bytes(data) for path, data in files.items()},
    }
    folder.write(RESULT, json.dumps(record, indent=2).encode())


def finished_report(job: StudentJob, output: Folder) -> StudentReport | None:
    """The report of a job whose record and files are all there and whole; otherwise there is work to do."""
    folder = job.folder(output)
    try:
        record: dict[str, Any] = json.loads(folder.read(RESULT))
        report = StudentReport.from_plain(record["report"])
        whole = all(digest_bytes(folder.read(path)) == digest for path, digest in record["files"].items())
    except (ObjectNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not whole or report.digest != job.digest:
        return None
    return replace(report, name=job.student.name, reused=True, url=folder.url)
