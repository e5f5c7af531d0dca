"""`Folder`: the small door to object storage through which all writing goes.

Writers write whole objects and a reader never sees part of one: local files are written to a temporary
name and renamed, object stores put atomically.
"""

import contextlib
import math
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phreg.errors import ObjectNotFoundError, StorageError
from phreg.storage.answer import store_code
from phreg.storage.creation import ATTEMPTS, MARKER, Creation, create_object, creation
from phreg.storage.file_systems import absolute_url, guard, is_local, open_fs, read_object
from phreg.storage.local import TEMPORARY_PREFIX, link, temporary_file
from phreg.storage.messages import explained, shown


@dataclass(frozen=True)
class StoredObject:
    """A listed object: its path within the folder, its size in bytes, when it was written (Unix seconds;
    infinity where the store does not say, so that it never counts as old)."""

    path: str
    size: int
    modified: float


@dataclass(frozen=True)
class Folder:
    """A folder at an fsspec URL. Paths are relative, with `/`. Cheap to make and to pickle.

    A local path is made absolute at once: the folder may travel to a process with another one.
    """

    url: str
    options: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", absolute_url(self.url))

    def __truediv__(self, path: str) -> "Folder":
        return Folder(self.url_of(path), self.options)

    def url_of(self, path: str) -> str:
        return f"{self.url.rstrip('/')}/{_safe(path)}"

    def shown(self, path: str = "") -> str:
        """The URL of an object in it, or its own, on one line and without the credentials it may carry."""
        return shown(self.url_of(path) if path else self.url)

    @property
    def is_local(self) -> bool:
        return is_local(self._fs)

    @property
    def local_path(self) -> Path:
        """The folder on the local disk, for `file` URLs."""
        return Path(self._root)

    def read(self, path: str) -> bytes:
        """The whole object. Raises `ObjectNotFoundError`."""
        with self._explained("read", path):
            return read_object(self._fs, self._join(path))

    def write(self, path: str, data: bytes) -> None:
        """Put the whole object, replacing one that is there."""
        with self._explained("write", path):
            if self.is_local:
                target = Path(self._join(path))
                with temporary_file(target, data) as temporary:
                    temporary.replace(target)
            else:
                with guard(self._fs):
                    self._fs.pipe_file(self._join(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Put the whole object unless one is there. Whether what is there now is this data.

        Of many writers with data of their own, one gets True. All whose data is the very same get it: an
        object store's answer can be lost and the put repeated, and then one's own object is in the way.
        In a store whose `creation` is not exclusive several that write at the same moment may get it, and the
        last one's data stays.
        """
        for attempt in range(ATTEMPTS):
            if self._create_once(path, data):
                return True
            with contextlib.suppress(ObjectNotFoundError):  # removed since
                return self.read(path) == data
            time.sleep(0.02 * 2**attempt)
        raise StorageError(
            f"Cannot write {self.shown(path)}",
            expected="the object written, or another writer's in its place",
            found=f"the store refused {ATTEMPTS} times, yet no other writer's object is there",
            remedy="run the same command again; what is committed is kept",
        )

    def _create_once(self, path: str, data: bytes) -> bool:
        with self._explained("write", path):
            if self.is_local:
                target = Path(self._join(path))
                with temporary_file(target, data) as temporary:
                    return link(temporary, target)
            return create_object(self._fs, self._join(path), data, self.creation)

    @property
    def creation(self) -> Creation:
        """What the folder's store does where an object that is to be created is there already."""
        with self._explained("write", MARKER):
            return creation(self._fs, self._root, self.url)

    def exists(self, path: str) -> bool:
        """Whether an object is there; a folder is none. A bucket that is not there is an error."""
        with self._explained("look up", path):
            try:
                return bool(self._fs.info(self._join(path))["type"] == "file")
            except (FileNotFoundError, NotADirectoryError) as error:
                if store_code(error) == "NoSuchBucket":
                    raise
                return False

    def children(self, under: str = "") -> list[str]:
        """Names of objects and folders directly below `under`, sorted; one shallow listing."""
        prefix = f"{_safe(under)}/" if under else ""
        found = (name.removeprefix(prefix) for name in self._find(under, "ls") if name.startswith(prefix))
        return sorted({name.strip("/") for name in found} - {""})

    def interrupted(self) -> list[StoredObject]:
        """Temporary files that interrupted local writes left, at any depth; object stores have none."""
        found = []
        for file in self.local_path.rglob(f"{TEMPORARY_PREFIX}*") if self.is_local else ():
            with contextlib.suppress(FileNotFoundError):  # its writer finished just now
                stat, path = file.stat(), str(file.relative_to(self.local_path))
                found.append(StoredObject(path, stat.st_size, stat.st_mtime))
        return found

    def list(self, under: str = "", every: bool = False) -> list[StoredObject]:
        """All objects below `under`, at any depth, sorted by path; none if there is no such folder.

        `every`: also objects whose names end in a slash, as some tools write for folders.
        """
        objects = (
            StoredObject(name, int(info["size"] or 0), _modified(info))
            for name, info in self._find(under, "find").items()
            if info["type"] == "file" and (every or not name.endswith("/"))
        )
        return sorted(objects, key=lambda item: item.path)

    def remove(self, path: str) -> None:
        """Remove an object; one that is gone already is no error."""
        with self._explained("remove", path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._fs.rm_file(self._join(path))

    def remove_all(self, under: str) -> None:
        """Remove all objects below `under`, on a local disk also its folders and interrupted writes."""
        if self.is_local:
            with self._explained("remove", under), contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._join(under))
        else:
            for item in self.list(_safe(under)):
                self.remove(item.path)

    def _find(self, under: str, method: str) -> dict[str, dict[str, Any]]:
        place = self._join(under) if under else self._root
        with self._explained("list", under):
            try:
                found = getattr(self._fs, method)(place, detail=True)
            except (FileNotFoundError, NotADirectoryError) as error:
                if store_code(error) == "NoSuchBucket":
                    raise
                return {}
        items = found.items() if isinstance(found, dict) else ((info["name"], info) for info in found)
        prefix = self._root.rstrip("/") + "/"
        return {
            name.removeprefix(prefix): info
            for name, info in items
            if not name.rpartition("/")[2].startswith(TEMPORARY_PREFIX)
        }

    @property
    def _fs(self) -> Any:
        return open_fs(self.url, self.options)[0]

    @property
    def _root(self) -> str:
        return open_fs(self.url, self.options)[1]

    def _join(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{_safe(path)}"

    def _explained(self, action: str, path: str) -> contextlib.AbstractContextManager[None]:
        return explained(action, self.url_of(path) if path else self.url, self.options)


def _safe(path: str) -> str:
    inner = path.strip("/")
    if path.startswith("/") or not inner or not {"..", "."}.isdisjoint(inner.split("/")) or "\0" in inner:
        raise StorageError(
            f"The path {path[:200]!r} names nothing within its folder",
            expected="a relative path without '..'",
        )
    return inner


def _modified(info: dict[str, Any]) -> float:
    stamps = (info.get(name) for name in ("mtime", "LastModified", "created"))
    stamp: Any = next((stamp for stamp in stamps if stamp not in (None, "")), math.inf)
    return float(stamp.timestamp() if hasattr(stamp, "timestamp") else stamp)
