"""Atomic writes on a local disk: a temporary file beside its target, then a rename or a link."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from phreg.errors import StorageError

TEMPORARY_PREFIX = ".phreg-"


@contextlib.contextmanager
def temporary_file(target: Path, data: bytes) -> Iterator[Path]:
    """The data on disk under a temporary name beside its target; the name is gone afterwards."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "a file is where a folder should be") from None
    temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
        _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Make new names in a folder survive a power cut: a commit record must not outlive its data."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link(temporary: Path, target: Path) -> bool:
    """Give the file its name unless the name is taken; unlike a rename, a link never replaces."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        raise StorageError(
            f"Cannot create {target}",
            expected="a file system with hard links, by which one of several writers wins",
            found=error.strerror or str(error),
            remedy="use a local disk, NFS or an object store",
        ) from None
    return True
