"""What a labelled set holds, told from some of its images; and known again without reading any, while its
files stay as they are."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from phreg.config.labels import LabelledSetConfig
from phreg.errors import DataError
from phreg.evaluate.datasets import LabelledSet, open_set
from phreg.fingerprint import digest_bytes, digest_json
from phreg.progress import tell
from phreg.storage import Folder
from phreg.storage.checksummed import read_checksummed_json, to_checksummed_json

FORMAT_VERSION = 1  # raise it when the same files would be read as other images
SAMPLED_IMAGES = 500
SETTLED_NS = 2_000_000_000  # what changed later may change again, and its times not tell it
FOLDER = "contents"

Content = dict[str, Any]


def content_of(item: LabelledSetConfig, kept: Folder) -> Content:
    """From its classes and its images; of a large set, `SAMPLED_IMAGES` evenly spread.

    Errors as of `open_set`. It is kept for `known_content`, unless a file is too new to tell by its times
    that it changes.
    """
    known = known_content(item, kept)
    if known is not None:
        return known
    before, now = _files(item), time.time_ns()
    content = _read(open_set(item))
    last = max((max(times) for _, _, *times in before), default=0)
    whole = all(len(image) > 1 for image in content["seen"])  # another time all may be read
    if whole and last < now - SETTLED_NS and _files(item) == before:
        kept.write(_path(item, before), to_checksummed_json(content))
    return content


def known_content(item: LabelledSetConfig, kept: Folder) -> Content | None:
    """What was kept of a set whose files all have the names, sizes and times that they had then. No file is
    read."""
    return read_checksummed_json(kept, _path(item, _files(item)))


def _path(item: LabelledSetConfig, files: list[tuple[str, int, int, int]]) -> str:
    fields = {name: getattr(item, name) for name in LabelledSetConfig.model_fields}
    root = os.path.realpath(Path(item.root).expanduser())
    listing = digest_bytes(ascii(files).encode())  # names need not be UTF-8
    known_by = {"format_version": FORMAT_VERSION, "decoder": PIL.__version__, "sampled": SAMPLED_IMAGES}
    return f"{FOLDER}/{digest_json(known_by | {'set': fields | {'root': root}, 'files': listing})}.json"


def _files(item: LabelledSetConfig) -> list[tuple[str, int, int, int]]:
    """Path, size, time of modification and of any change [ns] of all files below a set's root, sorted.

    The last no program can set: a file put in place of another with its times kept is noticed.
    """
    root = Path(item.root).expanduser()
    found, seen = [], set()
    for folder, folders, names in os.walk(root, followlinks=True):
        there = os.path.realpath(folder)
        if there in seen:  # a link to a folder around it
            folders.clear()
            continue
        seen.add(there)
        for name in names:
            try:
                stat = os.stat(path := os.path.join(folder, name))
            except OSError:
                continue
            found.append((os.path.relpath(path, root), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return sorted(found)


def _read(labelled: LabelledSet) -> Content:
    count = min(len(labelled), SAMPLED_IMAGES)
    chosen = sorted({int(i) for i in np.linspace(0, len(labelled) - 1, count)})
    seen = []
    for index in chosen:
        seen.append(_image_content(labelled, index))
        tell("looking at the set", len(seen), len(chosen))
    return {"images": len(labelled), "classes": [list(names) for names in labelled.classes], "seen": seen}


def _image_content(labelled: LabelledSet, index: int) -> list[str]:
    """One that cannot be read is left out of scores, and counts as what is wrong with it."""
    try:
        image = labelled[index]
    except DataError as error:
        return [str(error)]
    arrays = [a for a in (image.image, image.labels, image.depth) if a is not None]
    return [image.key, *(digest_bytes(np.ascontiguousarray(a).tobytes()) for a in arrays)]
