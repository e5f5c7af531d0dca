"""The images of a source folder: which files they are, their sizes, and their bytes if they decode."""

import os
import re
from collections.abc import Iterator, Sequence
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
    found = _walk(source) if source.is_local else _listed(source)
    images = {path: size for path, size in sorted(found) if _is_image(path)}
    if not images:
        raise _no_images(source, [path for path, _ in found])
    return images


def read_image(source: Folder, path: str) -> SourceImage:
    """Read and try to decode an image. A remote store that fails is no fault of the image: raises."""
    if reason := _unusable(path):
        return SourceImage(path, problem=reason, lasting=False)
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


def _unusable(path: str) -> str:
    """Why a name cannot be asked for: keys of object stores may be what no path is, and names of files need
    not be UTF-8. Empty if it can."""
    if re.search("[\ud800-\udfff]", path):
        return "its name is not UTF-8"
    if path.startswith("/") or path.endswith("/") or not {".", ".."}.isdisjoint(path.split("/")):
        return "its key is no path: it begins or ends with a slash, or has a part . or .."
    return ""


def _is_image(path: str) -> bool:
    hidden = any(part.startswith(".") and part not in (".", "..") for part in path.split("/"))
    _, dot, extension = path.rstrip("/").rpartition(".")
    return not hidden and bool(dot) and extension.lower() in IMAGE_EXTENSIONS


def _listed(source: Folder) -> list[tuple[str, int]]:
    """All objects but those of no bytes that stand for a folder."""
    return [(item.path, item.size) for item in source.list(every=True) if item.size or item.path[-1:] != "/"]


def _no_images(source: Folder, found: Sequence[str]) -> ConfigError:
    problem = f"No images to pack in {source.url}"
    expected = f"a folder with files that end in {', '.join(sorted(IMAGE_EXTENSIONS))}, at any depth"
    tars = [path for path in found if path.endswith(".tar")]
    if source.url.endswith(".tar"):
        shards = source.url
    elif tars:
        shards = f"{source.url.rstrip('/')}/{tars[0].rpartition('/')[0]}/*.tar".replace("//*", "/*")
    else:
        there = f"{len(found)} other files, such as {found[0]}" if found else "none, or no such folder"
        return ConfigError(problem, expected, there, "check the path")
    return ConfigError(
        problem,
        expected,
        f"{len(tars) or 1} .tar files",
        f"these may be shards already, which need no packing: put `images: {shards}` into a run's config "
        "(`phreg plan CONFIG` looks into them); other archives are to be unpacked first",
    )


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
