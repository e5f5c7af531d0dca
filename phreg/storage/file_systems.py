"""fsspec file systems, as phreg wants them: no cached listings, absolute local paths, safe in threads."""

import contextlib
import os
import threading
from collections.abc import Mapping
from typing import Any

import fsspec

from phreg.errors import StorageError
from phreg.storage.messages import redacted, shown

_MEMORY = threading.RLock()  # fsspec's memory files are created in two steps: look, then write


def open_fs(url: str, options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """The file system, without a cache of listings, and the path in it."""
    try:
        fs, root = fsspec.core.url_to_fs(url, **{"use_listings_cache": False} | dict(options or {}))
    except Exception as error:
        raise StorageError(
            f"Cannot open {shown(url)}",
            expected="a local path or an fsspec URL such as s3://bucket/folder",
            found=redacted(f"{type(error).__name__}: {error}", options or {}).partition("\n")[0][:300],
        ) from None
    return fs, str(root)


def absolute_url(url: str) -> str:
    scheme, separator, path = url.partition("://")
    if "::" in url or (separator and scheme not in ("file", "local")):
        return url
    absolute = os.path.abspath(os.path.expanduser(path if separator else url))
    return f"file://{absolute}" if separator else absolute


def is_local(fs: Any) -> bool:
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def guard(fs: Any) -> contextlib.AbstractContextManager[Any]:
    """What to hold while writing: nothing, except in memory, where a create is not atomic by itself."""
    return _MEMORY if fs.protocol == "memory" else contextlib.nullcontext()


def read_object(fs: Any, path: str) -> bytes:
    data: bytes = fs.cat_file(path)
    return data
