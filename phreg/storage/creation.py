"""Does a store keep what is there when an object of that name is created? It is asked, once a process.

S3 does by `If-None-Match: *`; other servers ignore it, or do not know it. The question is the creation of
`.phreg-create`, which stays: while it is there, a store that keeps what is there refuses. So every answer is
that of the store itself, also after a folder was copied to another one.

The limit: it is asked one request after the other. That a store keeps to it for two at the same moment must
be believed, but for clients of which we know that they look, and then write.
"""

import contextlib
import logging
import os
import time
from enum import Enum
from typing import Any

from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

from phreg.storage.answer import http_status, refuses, store_code
from phreg.storage.file_systems import guard, is_local
from phreg.storage.local import TEMPORARY_PREFIX
from phreg.storage.messages import shown

MARKER = f"{TEMPORARY_PREFIX}create"  # listings leave it out
ATTEMPTS = 6  # a store may answer 409, "try again", while another writer's put is under way
SENT_IN_PARTS = 100 * 2**20  # bytes; the condition is then on the upload's end, which some servers forget
_CONTENT = b"phreg creates this again and again, to see that the store keeps it. It may be removed.\n"
_REFUSED = {409, 412, "ConditionalRequestConflict", "PreconditionFailed"}

logger = logging.getLogger(__name__)


class Creation(Enum):
    """What becomes of an object that is there; the value says it of "the store"."""

    EXCLUSIVE = "keeps it"
    REPLACED = "replaces it, though asked not to (it ignores `If-None-Match: *`)"
    UNKNOWN = "refuses the condition `If-None-Match: *` itself"
    LOOKED = "is one where the client looks for it first, and then writes"


_ANSWERS: dict[tuple[str, ...], Creation] = {}


def creation(fs: Any, root: str, url: str) -> Creation:
    """What the store of the folder `root` does; the first time in this process by asking it."""
    if is_local(fs) or fs.protocol == "memory":
        return Creation.EXCLUSIVE  # by a link, or under a lock
    store = _store(fs, root)
    if store not in _ANSWERS:
        _ANSWERS[store] = answer = _looks(fs) or _ask(fs, f"{root.rstrip('/')}/{MARKER}")
        if answer is not Creation.EXCLUSIVE:
            logger.warning(
                "%s: when an object is there already, the store %s. So phreg looks before it writes; of two "
                "that write one name at the same moment, the later wins",
                shown(url),
                answer.value,
            )
    return _ANSWERS[store]


def create_object(fs: Any, path: str, data: bytes, how: Creation) -> bool:
    """Put an object unless one is there; False if one is, or if the store asks to try again."""
    if (how is not Creation.EXCLUSIVE or len(data) >= SENT_IN_PARTS) and _is_there(fs, path):
        return False
    if how is Creation.EXCLUSIVE:
        return _put_if_absent(fs, path, data)
    fs.pipe_file(path, data)
    return True


def _store(fs: Any, root: str) -> tuple[str, ...]:
    """What tells this store from others: its kind, server and bucket."""
    given: Any = getattr(fs, "endpoint_url", None) or getattr(fs, "client_kwargs", {}).get("endpoint_url")
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_PROFILE")
    server = [str(given)] if given else [os.environ.get(name, "") for name in names]
    return (type(fs).__name__, *server, root.lstrip("/").partition("/")[0])


def _looks(fs: Any) -> Creation | None:
    """`LOOKED` for file systems without a create of their own: fsspec's looks, and then writes."""
    own = type(fs).pipe_file is not AbstractFileSystem.pipe_file or isinstance(fs, AsyncFileSystem)
    return None if own else Creation.LOOKED


def _ask(fs: Any, path: str) -> Creation:
    for attempt in range(ATTEMPTS):
        try:
            if _put_if_absent(fs, path, _CONTENT):
                return Creation.REPLACED if _put_if_absent(fs, path, _CONTENT) else Creation.EXCLUSIVE
        except Exception as error:
            if not isinstance(error, NotImplementedError | TypeError) and not refuses(error):
                raise
            break
        if _is_there(fs, path):
            return Creation.EXCLUSIVE
        time.sleep(0.02 * 2**attempt)
    fs.pipe_file(path, _CONTENT)  # if it was not the condition that the store refused, this says so
    return Creation.UNKNOWN


def _put_if_absent(fs: Any, path: str, data: bytes) -> bool:
    try:
        with guard(fs):
            fs.pipe_file(path, data, mode="create")
    except Exception as error:
        if isinstance(error, FileExistsError) or _REFUSED & {http_status(error), store_code(error)}:
            return False
        raise
    return True


def _is_there(fs: Any, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return bool(fs.info(path)["type"] == "file")
    return False
