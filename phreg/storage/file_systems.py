"""fsspec file systems, as phreg wants them: no cached listings, absolute local paths, safe in threads."""

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import fsspec

from phreg.errors import PermanentStorageError, StorageError
from phreg.extras import to_install
from phreg.storage.foreign import check_place, is_one_place
from phreg.storage.messages import redacted, shown
from phreg.storage.s3 import PROTOCOLS, leave_retries_to_botocore, s3_options

BODY_ATTEMPTS = 4
_BODY_ENDED = ("ClientPayloadError", "IncompleteReadError", "ResponseStreamingError", "AioReadTimeoutError")

logger = logging.getLogger(__name__)

_MEMORY = threading.RLock()  # fsspec's memory files are created in two steps: look, then write


def open_fs(url: str, options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """The file system, without a cache of listings, and the path in it."""
    s3 = url.partition("://")[0] in PROTOCOLS
    if s3 and not url.partition("://")[2].strip("/"):
        raise StorageError(f"The URL {url} names no bucket", "s3://BUCKET or s3://BUCKET/FOLDER", "none")
    _check(url)
    settings = s3_options(options or {}) if s3 else {"use_listings_cache": False} | dict(options or {})
    try:
        if "::" in url:  # a file that is called so
            fs, root = fsspec.filesystem("file", **settings), os.path.abspath(os.path.expanduser(url))
        else:
            fs, root = fsspec.core.url_to_fs(url, **settings)
    except Exception as error:
        raise StorageError(
            f"Cannot open {shown(url)}",
            expected="a local path or an fsspec URL such as s3://bucket/folder",
            found=redacted(f"{type(error).__name__}: {error}", options or {}).partition("\n")[0][:300],
            remedy=_to_install(error),
        ) from None
    if s3:
        leave_retries_to_botocore(fs)
    return fs, str(root)


def _check(url: str) -> None:
    try:
        check_place(url)
    except ValueError as error:
        raise PermanentStorageError(f"Cannot open {shown(url)}", "one path or URL", str(error)) from None


def _to_install(error: Exception) -> str:
    """The package that fsspec lacks, where the error names it as it is imported."""
    package = getattr(error.__cause__, "name", None) if isinstance(error, ImportError) else None
    named = package and package in str(error)
    return f"{to_install(package)}, on a cluster on its nodes too" if package and named else ""


def absolute_url(url: str) -> str:
    scheme, separator, path = url.partition("://")
    if not is_one_place(url) or (separator and scheme not in ("file", "local")):
        return url
    absolute = os.path.abspath(os.path.expanduser(path if separator else url))
    return f"file://{absolute}" if separator else absolute


def local_path(url: str) -> str | None:
    """The absolute path that a local path or a `file://` URL stands for; None for other URLs."""
    scheme, separator, path = absolute_url(url).partition("://")
    if not is_one_place(url) or (separator and scheme not in ("file", "local")):
        return None
    return path if separator else scheme


def is_local(fs: Any) -> bool:
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def is_s3(fs: Any) -> bool:
    return "s3" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def guard(fs: Any) -> contextlib.AbstractContextManager[Any]:
    """What to hold while writing: nothing, except in memory, where a create is not atomic by itself."""
    return _MEMORY if fs.protocol == "memory" else contextlib.nullcontext()


def read_object(fs: Any, path: str) -> bytes:
    """The whole object, by one request: pieces of an object that is replaced meanwhile would not fit."""
    by_one = {"max_concurrency": 1} if is_s3(fs) else {}
    data: bytes = persistently(lambda: fs.cat_file(path, **by_one), path)
    return data


def open_object(fs: Any, path: str) -> Any:
    """The object opened for reading; of S3, each read is tried again: one that failed moved nothing."""
    file = fs.open(path, "rb")
    if is_s3(fs):
        read = file.read
        file.read = lambda size=-1: persistently(lambda: read(size), path)
    return file


def persistently(read: Callable[[], bytes], path: str) -> bytes:
    """What `read` gives, asked for again where a connection ended, or fell silent, within the body."""
    for attempt in range(1, BODY_ATTEMPTS + 1):
        try:
            return read()
        except Exception as error:  # the clients' own classes, by name: none is imported before it is used
            if type(error).__name__ not in _BODY_ENDED or attempt == BODY_ATTEMPTS:
                raise
            logger.debug("reading %s ended early, attempt %d", path, attempt)
            time.sleep(random.uniform(0.5, 1) * 0.5 * 2**attempt)  # noqa: S311 (no secret)
    raise AssertionError
