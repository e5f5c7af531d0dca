"""Single objects by their URL or local path, for reading."""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from phreg.errors import PermanentStorageError
from phreg.storage.file_systems import open_fs, open_object, read_object
from phreg.storage.messages import explained, shown


def read_url(url: str) -> bytes:
    """The whole object at a URL or local path. Raises `ObjectNotFoundError`."""
    with explained("read", url):
        return read_object(*open_fs(url))


@contextlib.contextmanager
def open_url(url: str) -> Iterator[BinaryIO]:
    """The object opened for reading and seeking: only what is read, and some blocks ahead, is fetched."""
    with explained("read", url), open_object(*open_fs(url)) as file:
        yield file


def version_of(url: str) -> str | None:
    """What changes whenever the object does, as its store tells without reading it: its size, and its ETag or
    a file's number and time. None if the store tells nothing of the kind. Raises `ObjectNotFoundError`."""
    if url.startswith(("http://", "https://")):  # many servers do not tell
        return None
    with explained("look at", url):
        fs, path = open_fs(url)
        info = fs.info(path)
    tag = info.get("ETag") or info.get("etag")
    if not tag and "ino" in info and "mtime" in info:  # other times are often of whole seconds
        tag = f"{info['ino']} {info['mtime']}"
    return f"{info.get('size')} {tag}" if tag else None


def glob_url(pattern: str) -> list[str]:
    """URLs of the objects that match a glob (`*`, `?`, `[...]`), sorted; none where nothing matches."""
    with explained("list", pattern):
        fs, path = open_fs(pattern)
        try:
            found = fs.glob(path, detail=True)
        except FileNotFoundError:
            return []
        except ValueError as error:  # fsspec's `**` is all of a path's part
            raise PermanentStorageError(
                f"Cannot list {shown(pattern)}",
                found=str(error),
                remedy="mend the pattern, for instance **/*.jpg",
            ) from None
    names = sorted(name for name, info in found.items() if info["type"] != "directory")
    return [fs.unstrip_protocol(name) if "://" in pattern else name for name in names]
