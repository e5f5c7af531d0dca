"""The images of a source folder: which files they are, their sizes, and their bytes if they decode."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from phreg.data.decode import decode_image
from phreg.data.shard import IMAGE_EXTENSIONS
from phreg.errors import ConfigError, ObjectNotFoundError, SampleError, StorageError
from phreg.storage import Folder


@dataclass(frozen=True)
class SourceImage:
    """An image's bytes, or why it is left out; `lasting` if that is in the bytes, not in their place."""

    path: str
    data: bytes = b""
    problem: str = ""
    lasting: bool = True


def list_images(source: Folder) -> dict[str, int]:
    """Sizes in bytes by path, sorted by path; nothing hidden. Raises `ConfigError` where there are none.

    On a local disk links are followed, each folder once on its own path; a link to nowhere has size 0.
    """
    found = _walk(source) if source.is_local else [(item.path, item.size) for item in source.list()]
    images = {path: size for path, size in sorted(found) if _is_image(path)}
    if not images:
        raise ConfigError(
            f"No images to pack in {source.url}",
            expected=f"a folder with files that end in {', '.join(sorted(IMAGE_EXTENSIONS))}, at any depth",
            found="other files only, or no such folder",
            remedy="check the path",
        )
    return images


def read_image(source: Folder, path: str) -> SourceImage:
    """Read and try to decode an image. A remote store that fails is no fault of the image: raises."""
    if not _is_utf8(path):
        return SourceImage(path, problem="its name is not UTF-8", lasting=False)
    try:
        data = source.read(path)
        decode_image(data)
    except SampleError as error:
        return SourceImage(path, problem=error.problem)
    except ObjectNotFoundError:
        return SourceImage(path, problem="gone, or a link to nowhere", lasting=False)
    except StorageError as error:
        if not source.is_local:
            raise
        return SourceImage(path, problem=f"cannot be read: {error.found}", lasting=False)
    return SourceImage(path, data)


def printable(path: str) -> str:
    """A path as text: file names on a local disk need not be UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()


def _is_utf8(path: str) -> bool:
    return path == printable(path)


def _is_image(path: str) -> bool:
    hidden = any(part.startswith(".") for part in path.split("/"))
    return not hidden and path.rpartition(".")[2].lower() in IMAGE_EXTENSIONS


def _walk(source: Folder) -> list[tuple[str, int]]:
    try:
        return list(_files(str(source.local_path), "", frozenset()))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError(
            f"Cannot list {source.url}",
            found=f"{error.strerror}: {error.filename}",
            remedy="give this user permission to read it, or move it out of the folder",
        ) from None


def _files(folder: str, prefix: str, above: frozenset[str]) -> Iterator[tuple[str, int]]:
    here = os.path.realpath(folder)
    if here in above:
        return  # a link back up
    for name in os.listdir(folder):
        place = os.path.join(folder, name)
        if os.path.isdir(place):
            yield from _files(place, f"{prefix}{name}/", above | {here})
        elif os.path.isfile(place):
            yield f"{prefix}{name}", os.path.getsize(place)
        elif os.path.islink(place) and not os.path.exists(place):
            yield f"{prefix}{name}", 0
