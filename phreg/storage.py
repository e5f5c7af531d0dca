"""One small door to object storage: whole objects, read, written, or created if absent.

A `Folder` is a place at an fsspec URL (`file`, `s3`, `memory`, ...). Writers write whole objects and a
reader never sees part of one: local files are written to a temporary name and renamed, object stores
put atomically. Endpoints and credentials come from the environment (`AWS_*`, `FSSPEC_S3_*`) or from
`options`, which appear in no message.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec

from phreg.errors import ObjectNotFoundError, PhregError, StorageError


@dataclass(frozen=True)
class StoredObject:
    """A listed object: its path within the folder, its size in bytes, when it was written (Unix seconds)."""

    path: str
    size: int
    modified: float


@dataclass(frozen=True)
class Folder:
    """A folder at an fsspec URL. Paths are relative, with `/`. Cheap to make and to pickle."""

    url: str
    options: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __truediv__(self, path: str) -> "Folder":
        return Folder(f"{self.url.rstrip('/')}/{_safe(path)}", self.options)

    def url_of(self, path: str) -> str:
        return f"{self.url.rstrip('/')}/{_safe(path)}"

    @property
    def is_local(self) -> bool:
        return _is_local(self._fs)

    @property
    def local_path(self) -> Path:
        """The folder on the local disk, for `file` URLs."""
        return Path(self._root)

    def read(self, path: str) -> bytes:
        """The whole object. Raises `ObjectNotFoundError`."""
        with _explained("read", self.url_of(path)):
            data: bytes = self._fs.cat_file(self._join(path))
            return data

    def write(self, path: str, data: bytes) -> None:
        """Put the whole object, replacing one that is there."""
        with _explained("write", self.url_of(path)):
            if self.is_local:
                with _temporary(Path(self._join(path)), data) as temporary:
                    temporary.replace(self._join(path))
            else:
                self._fs.pipe_file(self._join(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Put the whole object unless one is there: of many writers, just one gets True."""
        with _explained("write", self.url_of(path)):
            try:
                if self.is_local:
                    with _temporary(Path(self._join(path)), data) as temporary:
                        os.link(temporary, self._join(path))
                else:
                    self._fs.pipe_file(self._join(path), data, mode="create")
            except FileExistsError:
                return False
            return True

    def exists(self, path: str) -> bool:
        with _explained("look up", self.url_of(path)):
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self._join(path)))

    def list(self, under: str = "") -> list[StoredObject]:
        """All objects below `under`, at any depth, sorted by path; none if there is no such folder."""
        with _explained("list", self.url_of(under) if under else self.url):
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(self._join(under) if under else self._root, detail=True)
            except FileNotFoundError:
                return []
        prefix = self._root.rstrip("/") + "/"
        objects = [
            StoredObject(name.removeprefix(prefix), int(info["size"] or 0), _modified(info))
            for name, info in found.items()
            if not name.rpartition("/")[2].startswith(_TEMPORARY_PREFIX)
        ]
        return sorted(objects, key=lambda item: item.path)

    def remove(self, path: str) -> None:
        """Remove an object; one that is gone already is no error."""
        with _explained("remove", self.url_of(path)), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._join(path))

    @property
    def _fs(self) -> Any:
        return _open(
            self.url, tuple(sorted(self.options.items(), key=lambda i: i[0])) if self.options else ()
        )[0]

    @property
    def _root(self) -> str:
        root: str = _open(
            self.url, tuple(sorted(self.options.items(), key=lambda i: i[0])) if self.options else ()
        )[1]
        return root

    def _join(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{_safe(path)}"


def split_url(url: str) -> tuple[Folder, str]:
    """An object's URL as its folder and its name."""
    head, _, name = url.rstrip("/").rpartition("/")
    return Folder(head or "."), name


def read_url(url: str) -> bytes:
    """The whole object at a URL or local path. Raises `ObjectNotFoundError`."""
    folder, name = split_url(url)
    return folder.read(name)


_TEMPORARY_PREFIX = ".phreg-"


def _open(url: str, options: tuple[tuple[str, Any], ...]) -> tuple[Any, str]:
    try:
        fs, root = fsspec.core.url_to_fs(url, **dict(options))
    except (ValueError, ImportError) as error:
        raise StorageError(
            f"Cannot open {url}",
            expected="a local path or an fsspec URL such as s3://bucket/folder",
            found=type(error).__name__ + ": " + str(error).splitlines()[0],
        ) from None
    return fs, str(root)


def _is_local(fs: Any) -> bool:
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def _safe(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise StorageError(f"The path {path[:200]!r} leaves its folder", expected="a path without '..'")
    return path.strip("/")


def _modified(info: dict[str, Any]) -> float:
    stamp = info.get("mtime") or info.get("LastModified") or info.get("created")
    return float(stamp.timestamp() if hasattr(stamp, "timestamp") else stamp or 0.0)


@contextlib.contextmanager
def _temporary(target: Path, data: bytes) -> Iterator[Path]:
    """The data on disk under a temporary name beside its target; the name is gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{_TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(action: str, url: str) -> Iterator[None]:
    """Turn a file system's errors into ours, with the object's name and no option or credential."""
    try:
        yield
    except (PhregError, FileExistsError):
        raise
    except FileNotFoundError:
        raise ObjectNotFoundError(
            f"Cannot {action} {url}",
            expected="an object there",
            found="none, or no such bucket or folder",
            remedy="check the URL; for s3:// also that the bucket exists and AWS_ENDPOINT_URL names its server",
        ) from None
    except Exception as error:
        name = type(error).__name__
        raise StorageError(
            f"Cannot {action} {url}", found=f"{name}: {str(error)[:300]}", remedy=_remedy(error)
        ) from error


def _remedy(error: Exception) -> str:
    name = type(error).__name__
    if isinstance(error, PermissionError) or "Credential" in name:
        return (
            "give credentials in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) that may do this"
        )
    if isinstance(error, ConnectionError | TimeoutError) or "Connect" in name or "Timeout" in name:
        return "check the network and AWS_ENDPOINT_URL, then run the same command again"
    if isinstance(error, OSError) and error.errno == 28:
        return "free disk space, then run the same command again"
    return "run the same command again; what is committed is kept"
