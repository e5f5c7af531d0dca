"""Checkpoints: one object each, put whole, its SHA-256 in its first line.

They hold what changes in training and nothing else: the unlocked parameters, the optimiser, the step,
and the loss curve up to it. The rest of the student follows from the job.
"""

import io
import logging
import re
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from phreg.errors import ObjectNotFoundError, TrainingError
from phreg.fingerprint import digest_bytes
from phreg.storage import Folder

KEPT = 2  # so that a damaged one costs some steps and not the run
_NAME = re.compile(r"checkpoints/step-(\d+)\.ckpt")
_HEADER = b"phreg-checkpoint-1 "

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` steps. `curve` is JSON lines; `seconds` the time trained so far; `skipped` are
    the skipped steps as plain data."""

    step: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    curve: str
    seconds: float
    skipped: dict[str, Any] = field(default_factory=dict)


def write_checkpoint(folder: Folder, checkpoint: Checkpoint) -> None:
    """Put it, then remove all but the last `KEPT`."""
    buffer = io.BytesIO()
    torch.save(dict(vars(checkpoint)), buffer)
    body = buffer.getvalue()
    folder.write(checkpoint_path(checkpoint.step), _HEADER + digest_bytes(body).encode() + b"\n" + body)
    for step in checkpoint_steps(folder)[KEPT:]:
        folder.remove(checkpoint_path(step))


def checkpoint_steps(folder: Folder) -> list[int]:
    """Steps that have a checkpoint, whole or not, the latest first."""
    names = (_NAME.fullmatch(item.path) for item in folder.list("checkpoints"))
    return sorted((int(name[1]) for name in names if name), reverse=True)


def read_checkpoint(folder: Folder, step: int) -> Checkpoint:
    """Raises `TrainingError` for a damaged one or one of another version, `ObjectNotFoundError` for none."""
    header, _, body = folder.read(checkpoint_path(step)).partition(b"\n")
    expected = header.removeprefix(_HEADER).decode(errors="replace")
    if not header.startswith(_HEADER) or digest_bytes(body) != expected:
        raise _unusable(
            f"{folder.url_of(checkpoint_path(step))} is damaged",
            f"content with SHA-256 {expected[:64]}",
            f"{digest_bytes(body)} ({len(body)} bytes)",
        )
    try:
        return Checkpoint(**torch.load(io.BytesIO(body), map_location="cpu", weights_only=True))
    except Exception as error:  # PyTorch, and unpickling, raise nearly anything
        raise _unusable(
            f"{folder.url_of(checkpoint_path(step))} cannot be read",
            "what this phreg and this PyTorch write",
            f"{type(error).__name__}: {error}"[:200],
        ) from None


def _unusable(problem: str, expected: str, found: str) -> TrainingError:
    remedy = "remove it; the one before it will be used"
    return TrainingError(f"The checkpoint {problem}", expected, found, remedy)


def latest_checkpoint(folder: Folder) -> Checkpoint | None:
    """The latest whole one. Damaged ones are named in the log and passed over."""
    steps = checkpoint_steps(folder)
    for number, step in enumerate(steps, 1):
        try:
            return read_checkpoint(folder, step)
        except (TrainingError, ObjectNotFoundError) as error:
            last = number == len(steps)
            going = "no checkpoint is left: training from the start" if last else "using the one before it"
            logger.warning("%s\n  %s", error, going)
    return None


def checkpoint_path(step: int) -> str:
    return f"checkpoints/step-{step:09d}.ckpt"
