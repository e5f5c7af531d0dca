"""Packing some of a folder's images: a text file that names them, one path a line."""

import posixpath
from collections.abc import Collection

from phreg.errors import ConfigError, StorageError
from phreg.storage import Folder, read_url
from phreg.storage.messages import shown

SHOWN = 3


def listed_images(url: str, source: Folder, images: Collection[str]) -> set[str]:
    """The `images` of `source` that the file at `url` names: by their paths in the folder, or by whole ones.

    Empty lines are left alone. Raises `ConfigError` if it cannot be read, or names what is no image there.
    """
    try:
        text = read_url(url).decode("utf-8-sig", "surrogateescape")  # as names of files are decoded
    except StorageError as error:
        raise ConfigError(f"Cannot read the list {url}", error.expected, error.found, error.remedy) from error
    place = str(source.local_path) if source.is_local else source.url
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    paths = [posixpath.normpath(line.removeprefix(place.rstrip("/") + "/")) for line in lines]
    absent = [line for line, path in zip(lines, paths, strict=True) if path not in images]
    if absent or not lines:
        names = ", ".join(shown(line[:100]) for line in absent[:SHOWN])
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        raise ConfigError(
            f"The list {url} does not name images in {source.url}",
            expected="their paths in that folder, or whole ones, one a line",
            found=f"no such image: {names}{more}" if absent else "no lines",
            remedy="take such lines out of it, or give the folder that its images are in",
        )
    return set(paths)
