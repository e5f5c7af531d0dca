"""What makes a student: the job, and its identity."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from phreg.config.run import StudentConfig, TeacherConfig, TrainingConfig
from phreg.fingerprint import digest_json
from phreg.storage import Folder
from phreg.storage.file_systems import absolute_url

FORMAT_VERSION = 2  # raise it when the same job would give other weights
_DIRECTORIES = ("local-dir", "open_clip-dir")
_STARTS = {"model", "checkpoint", "checkpoint_key"}  # where a student's own network is: `start` is what it is
_NOT_OF_A_STUDENT = {"name", "targets", *_STARTS}


@dataclass(frozen=True)
class ShardRef:
    """A shard as it was when its targets were planned: name, where it is, digest of its content."""

    name: str
    url: str
    digest: str


@dataclass(frozen=True)
class StudentJob:
    """One student to distil: plain data, picklable."""

    student: StudentConfig
    teacher: TeacherConfig
    training: TrainingConfig
    cache_url: str
    target_digest: str
    train: tuple[ShardRef, ...]
    validation: tuple[ShardRef, ...]
    start: str = ""  # digest of the network that the student starts from, if that is not the teacher's

    @property
    def identity(self) -> dict[str, Any]:
        """Everything the weights depend on, as plain data.

        Names and URLs are left out, so that a moved bucket or a renamed student is still the same
        student; the target digest covers the teacher's weights. So is all that only changes when
        something is written or where it runs.
        """
        return {
            "format_version": FORMAT_VERSION,
            "student": self.student.model_dump(mode="json", exclude=_NOT_OF_A_STUDENT | self._as_always),
            "teacher": self.teacher.model_dump(mode="json", exclude={"checkpoint", "checkpoint_key"})
            | {"model": self._directory[0] if self._directory is not None else self.teacher.model},
            "targets": self.target_digest,
            "train": [[shard.name, shard.digest] for shard in self.train],
            "validation": [[shard.name, shard.digest] for shard in self.validation],
            "workers": self.training.workers,
            "shuffle_shards": self.training.shuffle_shards,
        } | ({"start": self.start} if self.start else {})

    @property
    def _as_always(self) -> set[str]:
        """Options younger than `FORMAT_VERSION`, where they change nothing."""
        return set() if self.student.weigh_by_certainty else {"weigh_by_certainty"}

    @cached_property
    def digest(self) -> str:
        return digest_json(self.identity)

    @property
    def batches(self) -> Hashable:
        """All that decides which batches it learns from: students in which it is equal may share them."""
        return (
            (self.teacher, self.cache_url, self.target_digest, self.train, self.validation),
            (self.student.seed, self.student.batch_size, self.student.epochs),
            (self.training.workers, self.training.shuffle_shards),
        )

    def with_absolute_paths(self) -> "StudentJob":
        """The same job for a process with another working directory."""
        return replace(
            self,
            teacher=TeacherConfig(**_absolute(self.teacher.model_dump())),
            student=StudentConfig(**_absolute(self.student.model_dump())),
            cache_url=absolute_url(self.cache_url),
            train=tuple(replace(ref, url=absolute_url(ref.url)) for ref in self.train),
            validation=tuple(replace(ref, url=absolute_url(ref.url)) for ref in self.validation),
        )

    @property
    def _directory(self) -> tuple[str, str] | None:
        """Form and path of a teacher that is a folder, and may be moved."""
        return _directory(self.teacher.model)

    def folder(self, output: Folder) -> Folder:
        """Where the job writes: `checkpoints/`, `curve-so-far.jsonl`, then `curve.jsonl`, `model/`, and last
        `result.json`; the first two go then, or when it is reused."""
        return output / f"students/{self.digest}"


def _directory(model: str | None) -> tuple[str, str] | None:
    form, _, path = (model or "").partition(":")
    return (form, path) if form in _DIRECTORIES else None


def _absolute(section: dict[str, Any]) -> dict[str, Any]:
    """A section with `model` and `checkpoint`, its places absolute."""
    places = {} if section["checkpoint"] is None else {"checkpoint": absolute_url(section["checkpoint"])}
    directory = _directory(section["model"])
    if directory is not None:
        places["model"] = f"{directory[0]}:{absolute_url(directory[1])}"
    return section | places
