"""How fast earlier runs were, kept in OUTPUT/rates: what a plan tells times from.

A rate is one of work per second of one actor or worker, so that a plan may have more or fewer of them.
"""

import contextlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phreg.cache import TargetSpec
from phreg.errors import StorageError
from phreg.fingerprint import digest_json
from phreg.storage import Folder
from phreg.storage.checksummed import read_checksummed_json, to_checksummed_json

FOLDER = "rates"
Work = Literal["targets", "students"]


class Rate(BaseModel):
    """`work`: forward passes of a teacher, or crops that students were trained on, in so many `seconds` of
    one actor or worker."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    work: int = Field(gt=0)
    seconds: float = Field(gt=0)

    @property
    def per_second(self) -> float:
        return self.work / self.seconds


def note_rate(output: Folder, kind: Work, spec: TargetSpec, gpus: float, work: int, seconds: float) -> None:
    """Keep what was measured last, in place of what was measured before. No work fails for want of it."""
    if work <= 0 or seconds <= 0:
        return
    fields = Rate(work=work, seconds=seconds).model_dump()
    with contextlib.suppress(StorageError):
        (output / FOLDER).write(f"{_key(kind, spec, gpus)}.json", to_checksummed_json(fields))


def known_rate(output: Folder, kind: Work, spec: TargetSpec, gpus: float) -> float | None:
    """Work per second of one actor or worker; None if none was measured, or it cannot be read."""
    fields = read_checksummed_json(output / FOLDER, f"{_key(kind, spec, gpus)}.json")
    try:
        return None if fields is None else Rate.model_validate(fields).per_second
    except ValidationError:
        return None


def _key(kind: Work, spec: TargetSpec, gpus: float) -> str:
    """Digest of what speed depends on: the network, its input, and whether it has a GPU. Not of views: a
    forward pass sees one. But of what is fitted to them beside, which takes its time."""
    fields = {
        "kind": kind,
        "teacher": spec.teacher.model_dump(mode="json"),
        "read_out": spec.read_out,
        "precision": spec.precision,
        "image_size": spec.image_size,
        "gpus": gpus,
    }
    if kind == "targets" and spec.denoised_by.fitting_steps:
        fields["denoiser"] = spec.denoised_by.model_dump(mode="json")
    return digest_json(fields)
