"""One WebDataset shard, whole and checked: its samples by key, and what had to be left out.

Hostile input is expected. Nothing is unpacked to disk, and members are slices of the object in memory.
"""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from phreg.data.tar import Member, scan_tar
from phreg.data.urls import shard_name
from phreg.errors import ShardError
from phreg.fingerprint import digest_bytes
from phreg.storage import open_url, read_url
from phreg.types import Quarantined

IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm"})
MAX_KEY_BYTES = 1024
_KEY = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")  # WebDataset's: folder and base name to the first dot
_META = re.compile(r"__[^/]*__($|/)")  # members that WebDataset keeps for itself
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
)  # control characters, bytes that are not UTF-8


@dataclass(frozen=True)
class Sample:
    """An image as it is in its shard: encoded bytes, not yet known to decode."""

    key: str
    image: bytes = field(repr=False)


@dataclass(frozen=True)
class Shard:
    """A shard's content; `digest` is that of the whole object."""

    name: str
    url: str
    digest: str
    samples: tuple[Sample, ...] = field(repr=False)
    quarantined: tuple[Quarantined, ...]


def read_shard(url: str) -> Shard:
    """Read and check a whole shard. Raises `ShardError`, `ObjectNotFoundError`, `StorageError`.

    A sample is a key with exactly one image (extension in `IMAGE_EXTENSIONS`); other keys, links, and
    names that leave the shard are quarantined. A key that comes twice makes the shard useless: which of
    the two a cached target belongs to could not be told.
    """
    data = read_url(url)
    images, quarantined = _group(scan_tar(io.BytesIO(data), url), url)
    samples = (Sample(key, data[member.start : member.start + member.size]) for key, member in images)
    return Shard(shard_name(url), url, digest_bytes(data), tuple(samples), tuple(quarantined))


@dataclass(frozen=True)
class ShardSize:
    """The samples of a shard, and the bytes of their encoded images."""

    samples: int
    image_bytes: int


def measure_shard(url: str) -> ShardSize:
    """What `read_shard` will find, from the headers. Raises the same errors.

    Local files are only sought through. From an object store, members shorter than a block of its file
    system (50 MiB for S3) come along: a request each would take longer.
    """
    if url.startswith(("http://", "https://")):  # many servers cannot seek
        images, _ = _group(scan_tar(io.BytesIO(read_url(url)), url), url)
    else:
        with open_url(url) as file:
            images, _ = _group(scan_tar(file, url), url)
    return ShardSize(len(images), sum(member.size for _, member in images))


def count_samples(url: str) -> int:
    """How many samples `read_shard` will find; see `measure_shard`."""
    return measure_shard(url).samples


@dataclass
class _Key:
    name: str
    images: list[Member] = field(default_factory=list)
    extensions: list[str] = field(default_factory=list)
    problem: str = ""

    def add(self, member: Member, extension: str) -> None:
        self.extensions.append(extension)
        if member.kind != "file":
            self.problem = self.problem or f"{_shown(member.name)} is a link, a device or a sparse file"
        elif extension in IMAGE_EXTENSIONS:
            self.images.append(member)

    def why_not(self) -> str:
        """Why this key is no sample; empty if it is one."""
        if self.problem or len(self.images) == 1:
            return self.problem
        found = f"{len(self.images)} images" if self.images else "no image"
        return f"{found} among its files ({', '.join(_shown(name) for name in self.extensions[:8])})"


def _group(members: Iterable[Member], url: str) -> tuple[list[tuple[str, Member]], list[Quarantined]]:
    """Samples as (key, image member), and quarantined keys, both in the shard's order."""
    keys: dict[str, _Key] = {}
    quarantined: list[Quarantined] = []
    last = None
    for member in members:
        if member.kind == "folder" or _META.match(member.name) or "." not in member.name.rpartition("/")[2]:
            continue  # as WebDataset does
        if len(member.name) > MAX_KEY_BYTES:  # the pattern takes its square in time
            quarantined.append(Quarantined(_shown(member.name), _name_problem(member.name)))
            continue
        match = _KEY.match(member.name)
        if match is None:
            continue  # nothing before the dot
        if problem := _name_problem(member.name):
            quarantined.append(Quarantined(_shown(match[1]), problem))
            continue
        key, extension = match[1], match[2].lower()
        if key in keys and (key != last or extension in keys[key].extensions):
            raise _duplicate(url, key, member.name)
        keys.setdefault(key, _Key(key)).add(member, extension)
        last = key
    left_out = {key: reason for key, group in keys.items() if (reason := group.why_not())}
    quarantined += [Quarantined(_shown(key), reason) for key, reason in left_out.items()]
    images = [(key, group.images[0]) for key, group in keys.items() if key not in left_out]
    if not images:
        raise _empty(url, quarantined)
    return images, quarantined


def _name_problem(name: str) -> str:
    if name.startswith("/") or ".." in name.split("/"):
        return "its name leaves the shard (absolute, or with ..)"
    if _UNSAFE.search(name):
        return "its name has control characters or is not UTF-8"
    if len(name.encode()) > MAX_KEY_BYTES:
        return f"its name is longer than {MAX_KEY_BYTES} bytes"
    return ""


def _shown(text: str) -> str:
    """Fit for messages and JSON, however hostile."""
    escaped = _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)
    return escaped if len(escaped) <= 200 else escaped[:200] + "..."


def _duplicate(url: str, key: str, name: str) -> ShardError:
    return ShardError(
        f"The shard {url} holds the key {_shown(key)!r} twice",
        expected="every key once, its files one after another, each extension once",
        found=f"{_shown(name)} comes again",
        remedy="make the shard again with unique keys (`phreg pack` does); it was not used",
    )


def _empty(url: str, quarantined: list[Quarantined]) -> ShardError:
    found = f"none; the first of {len(quarantined)} left out: {quarantined[0]}" if quarantined else "none"
    return ShardError(
        f"The shard {url} holds no samples",
        expected=f"images KEY.EXT, EXT one of {', '.join(sorted(IMAGE_EXTENSIONS))}",
        found=found,
        remedy="leave the shard out, or make it again (`phreg pack IMAGES OUT`)",
    )
