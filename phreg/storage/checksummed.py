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

from phreg.errors import ObjectNotFoundError, hide_credentials
from phreg.fingerprint import canonical_json, digest_json, digest_weights
from phreg.storage import Folder

CHECKSUM = "checksum"
_DIGEST = "sha256"

logger = logging.getLogger(__name__)

_WARNED: set[str] = set()  # folders of which it was said


class NoChecksumError(ValueError):
    """What has no checksum, as an older phreg wrote it."""


def to_checksummed_json(fields: Mapping[str, Any]) -> bytes:
    """Plain data as canonical JSON with its checksum."""
    return canonical_json({**fields, CHECKSUM: digest_json(dict(fields))})


def from_checksummed_json(data: bytes, older: bool = False) -> dict[str, Any]:
    """The plain data again. Raises `ValueError` for anything else.

    `older`: also take objects from before there were checksums, as they are.
    """
    try:
        fields = json.loads(data)
    except RecursionError:
        raise ValueError("no JSON object with a checksum") from None
    if not isinstance(fields, dict):
        raise ValueError("no JSON object with a checksum")
    if not older and CHECKSUM not in fields:
        raise NoChecksumError("no checksum")
    checksum = fields.pop(CHECKSUM, None)
    if checksum is not None and digest_json(fields) != checksum:
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
        if _DIGEST not in tensors:
            raise NoChecksumError("no checksum")
        digest = bytes(tensors.pop(_DIGEST).tolist())
    except NoChecksumError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no tensors with a checksum ({type(error).__name__})") from None
    if digest.hex() != digest_weights(tensors):
        raise ValueError("tensors that differ from their own checksum")
    return tensors


def read_checksummed_json(folder: Folder, path: str) -> dict[str, Any] | None:
    """A stored result; None if it is not there, or is damaged, which the log then says: it is made anew.

    So is one without a checksum, as an older phreg wrote it; of these the log names the first of a folder.
    """
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
    if isinstance(error, NoChecksumError):
        _warn_once(folder.url, path)
    else:
        place = hide_credentials(folder.url_of(path))
        logger.warning("%s is damaged: %s; it is made anew", place, error)


def _warn_once(url: str, path: str) -> None:
    """Once a folder: an older phreg leaves many. A warning, since a flipped bit of the key looks the same."""
    if url not in _WARNED:
        _WARNED.add(url)
        said = "%s in %s has no checksum: it is damaged, or of an older phreg; such are made anew"
        logger.warning(said, path, hide_credentials(url))
