"""A folder of images to WebDataset shards, original bytes unchanged.

What is done is what is recorded beside the shards. Run again, recorded shards stay as they are, and
images that no record names (new ones, and unreadable ones that were mended) go into further shards; so
an interrupted run ends with the very shards of one that was not. No shard is ever overwritten.
"""

import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from phreg.data.pack_list import listed_images
from phreg.data.pack_record import PackedShard, another_set, check_source, read_records, shard_stem
from phreg.data.pack_source import SourceImage, list_images, read_image
from phreg.data.urls import shard_name
from phreg.errors import ConfigError
from phreg.fingerprint import digest_bytes
from phreg.storage import Folder
from phreg.storage.messages import shown
from phreg.types import Quarantined

Progress = Callable[[int, int], None]
Members = Sequence[tuple[str, int]]


@dataclass(frozen=True)
class PackReport:
    """All shards of the out folder, how many this run wrote, and the images left out (by source path).

    `largest_before`: images of the largest shard that was there before; it stays as it is.
    """

    shards: tuple[str, ...]
    written: int
    reused: int
    samples: int
    bytes: int
    quarantined: tuple[Quarantined, ...]
    largest_before: int = 0


def pack_images(
    source: str | Path,
    out: str | Path,
    samples_per_shard: int = 1000,
    max_bytes_per_shard: int = 256 * 1024**2,
    name: str | None = None,
    on_progress: Progress | None = None,
    listed: str | None = None,
) -> PackReport:
    """Pack all images below `source` into `out/NAME-000000.tar` and so on; both are paths or fsspec URLs.

    `name` is the out folder's own by default. Hidden files and folders are left alone. Images that do
    not decode are listed in the report and in `out/quarantine.jsonl`. A shard takes `samples_per_shard`
    images of at most `max_bytes_per_shard` together, and is held in memory. `on_progress` gets the
    images done and their number. `listed`: a file that names the images to pack, beside those packed
    already; all by default. Raises `ConfigError` for a source without images or without one that is
    listed, and where `out` holds shards of another set.
    """
    source_folder, out_folder = Folder(str(source)), Folder(str(out))
    name = _checked_name(name, out_folder)
    if samples_per_shard < 1 or max_bytes_per_shard < 1:
        raise ConfigError("A shard takes at least one image", "samples and bytes of a shard above 0")
    sizes = list_images(source_folder)
    wanted = sizes if listed is None else listed_images(listed, source_folder, sizes)
    records = read_records(out_folder, name)
    check_source(records, sizes, out_folder)
    seen = {member for record in records.values() for member in record.members}
    new = [member for member in sizes.items() if member not in seen and member[0] in wanted]
    total = sum(len(record.members) for record in records.values()) + len(new)
    packer = _Packer(source_folder, out_folder, name, on_progress or (lambda done, total: None), total)
    written = packer.complete(records)
    largest_before = max((len(record.members) for record in records.values()), default=0)
    for members in _partition(new, samples_per_shard, max_bytes_per_shard):
        record = packer.pack(len(records), members)
        if record.members:
            records[len(records)] = record
            written += record.bytes > 0
    quarantined = [*_left_out(records.values(), sizes), *packer.unread]
    _write_quarantined(out_folder, quarantined)
    return replace(_report(out_folder, name, records, written, quarantined), largest_before=largest_before)


def sample_key(path: str) -> str:
    """A key without dots or slashes that depends on the source path alone, and differs when that does."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", path.rpartition(".")[0])[-64:]
    return f"{stem}-{digest_bytes(path.encode('utf-8', 'surrogatepass'))[:16]}"


def _checked_name(name: str | None, out: Folder) -> str:
    default = re.sub(r"[^A-Za-z0-9_-]", "_", out.url.rstrip("/").rpartition("/")[2]).strip("_-")
    name = name or default or "images"
    if "/" in name:
        raise ConfigError("Shards cannot have such a name", expected="no folder in it", found=repr(name))
    shard_name(f"{shard_stem(name, 0)}.tar")
    return name


def _partition(members: Members, most: int, most_bytes: int) -> Iterator[Members]:
    """Runs of members; where a run ends depends on nothing that comes after it."""
    run: list[tuple[str, int]] = []
    total = 0
    for path, size in members:
        if run and (len(run) == most or total + size > most_bytes):
            yield run
            run, total = [], 0
        run.append((path, size))
        total += size
    if run:
        yield run


@dataclass
class _Packer:
    source: Folder
    out: Folder
    name: str
    on_progress: Progress
    total: int
    done: int = 0
    unread: list[Quarantined] = field(default_factory=list)

    def complete(self, records: dict[int, PackedShard]) -> int:
        """Write again the recorded shards whose tar is gone; how many those were."""
        there = {item.path for item in self.out.list()}
        missing = 0
        for index, record in records.items():
            stem = shard_stem(self.name, index)
            if not record.bytes or f"{stem}.tar" in there:
                self._advance(len(record.members))
                continue
            self._restore(stem, record)
            missing += 1
        return missing

    def pack(self, index: int, members: Members) -> PackedShard:
        """Write one shard, then its record. Raises `ConfigError` if another shard has its name.

        What could not even be read is in `unread`, not in the record: the next run tries it again.
        """
        stem = shard_stem(self.name, index)
        images = self._load(members)
        self.unread += [
            Quarantined(shown(image.path), image.problem) for image in images if not image.lasting
        ]
        samples = [image for image in images if image.data]
        broken = [image for image in images if image.problem and image.lasting]
        data = _tar(samples) if samples else b""
        sizes = dict(members) | {image.path: len(image.data) for image in samples}
        record = PackedShard(
            samples=len(samples),
            bytes=len(data),
            digest=digest_bytes(data),
            members=tuple((image.path, sizes[image.path]) for image in images if image.lasting),
            quarantined=tuple((image.path, image.problem) for image in broken),
        )
        if data:
            self._create(stem, data)
        if record.members:
            self.out.create(f"{stem}.json", record.model_dump_json().encode())
        return record

    def _restore(self, stem: str, record: PackedShard) -> None:
        broken = {path for path, _ in record.quarantined}
        images = self._load([member for member in record.members if member[0] not in broken])
        data = _tar(images)
        if digest_bytes(data) != record.digest:
            raise another_set(self.out, f"{stem}.tar lost, and its images changed since")
        self._create(stem, data)
        self._advance(len(broken))

    def _create(self, stem: str, data: bytes) -> None:
        if not self.out.create(f"{stem}.tar", data):
            raise another_set(self.out, f"{stem}.tar with other content")

    def _load(self, members: Members) -> list[SourceImage]:
        images = []
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for image in pool.map(partial(read_image, self.source), [path for path, _ in members]):
                images.append(image)
                self._advance(1)
        return images

    def _advance(self, images: int) -> None:
        self.done += images
        self.on_progress(min(self.done, self.total), self.total)


def _tar(images: Sequence[SourceImage]) -> bytes:
    """The same bytes for the same images: no times, no owners."""
    import webdataset  # which takes torch's second: a path that holds no images is told without

    buffer = io.BytesIO()
    with webdataset.TarWriter(
        buffer, user="", group="", mtime=0, encoder=False, compress=False, format=tarfile.USTAR_FORMAT
    ) as tar:
        for image in images:
            extension = image.path.rpartition(".")[2].lower()
            origin = json.dumps({"source": image.path}).encode()
            tar.write({"__key__": sample_key(image.path), extension: image.data, "json": origin})
    return buffer.getvalue()


def _left_out(records: Iterable[PackedShard], sizes: Mapping[str, int]) -> list[Quarantined]:
    """Recorded images that do not decode, but for those mended (in a later record) or removed since."""
    reasons: dict[str, str] = {}
    for record in records:
        reasons |= dict.fromkeys((path for path, _ in record.members), "") | dict(record.quarantined)
    return [Quarantined(path, why) for path, why in reasons.items() if why and path in sizes]


def _write_quarantined(out: Folder, quarantined: Sequence[Quarantined]) -> None:
    if quarantined or out.exists("quarantine.jsonl"):
        lines = (json.dumps({"source": path, "reason": reason}) for path, reason in quarantined)
        out.write("quarantine.jsonl", "".join(f"{line}\n" for line in lines).encode())


def _report(
    out: Folder,
    name: str,
    records: Mapping[int, PackedShard],
    written: int,
    quarantined: Sequence[Quarantined],
) -> PackReport:
    stems = [shard_stem(name, index) for index, record in records.items() if record.bytes]
    return PackReport(
        shards=tuple(out.url_of(f"{stem}.tar") for stem in stems),
        written=written,
        reused=len(stems) - written,
        samples=sum(record.samples for record in records.values()),
        bytes=sum(record.bytes for record in records.values()),
        quarantined=tuple(quarantined),
    )
