"""Small stored objects with a checksum of their own: a flipped bit is found when they are read.

JSON objects carry the digest of all else under `checksum`, safetensors under the tensor `sha256`.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from phreg.errors import ObjectNotFoundError
from phreg.fingerprint import canonical_json, digest_json, digest_weights
from phreg.storage import Folder

CHECKSUM = "checksum"
_DIGEST = "sha256"

logger = logging.getLogger(__name__)


def to_checksummed_json(fields: Mapping[str, Any]) -> bytes:
    """Plain data as canonical JSON with its checksum."""
    return canonical_json({**fields, CHECKSUM: digest_json(dict(fields))})


def from_checksummed_json(data: bytes) -> dict[str, Any]:
    """The plain data again. Raises `ValueError` for anything else."""
    try:
        fields = json.loads(data)
    except RecursionError:
        raise ValueError("no JSON object with a checksum") from None
    if not isinstance(fields, dict) or CHECKSUM not in fields:
        raise ValueError("no JSON object with a checksum")
    checksum = fields.pop(CHECKSUM)
    if digest_json(fields) != checksum:
        raise ValueError("a content that differs from its own checksum")
    return fields


def to_checksummed_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as safetensors, their digest among them."""
    digest = torch.tensor(list(bytes.fromhex(digest_weights(tensors))), dtype=torch.uint8)
    return safetensors.torch.save({n: t.contiguous() for n, t in tensors.items()} | {_DIGEST: digest})


def from_checksummed_tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors again. Raises `ValueError` for anything else."""
    try:
        tensors = safetensors.torch.load(data)
        digest = bytes(tensors.pop(_DIGEST).tolist())
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no tensors with a checksum ({type(error).__name__})") from None
    if digest.hex() != digest_weights(tensors):
        raise ValueError("tensors that differ from their own checksum")
    return tensors


def read_checksummed_json(folder: Folder, path: str) -> dict[str, Any] | None:
    """A stored result; None if it is not there, or is damaged, which the log then says: it is made anew."""
    try:
        return from_checksummed_json(folder.read(path))
    except ObjectNotFoundError:
        return None
    except ValueError as error:
        _log(folder, path, error)
        return None


def read_checksummed_tensors(folder: Folder, path: str) -> dict[str, Tensor] | None:
    """The same for tensors."""
    try:
        return from_checksummed_tensors(folder.read(path))
    except ObjectNotFoundError:
        return None
    except ValueError as error:
        _log(folder, path, error)
        return None


def _log(folder: Folder, path: str, error: ValueError) -> None:
    logger.warning("%s is damaged: %s; it is made anew", folder.shown(path), error)
