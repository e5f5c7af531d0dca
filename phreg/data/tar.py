"""Strict reading of a tar's members: a tar that is cut short, or goes on after its end, is an error.

`tarfile` and WebDataset end without a word at a damaged header, at a member boundary and at zeros;
samples would go missing unnoticed.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from phreg.data.tar_header import (
    BLOCK,
    EXTENDED,
    Header,
    HeaderError,
    Kind,
    extended_records,
    parse_header,
    pax_records,
)
from phreg.errors import ShardError

RECORD = 20 * BLOCK  # tar, Python and WebDataset pad an archive to a multiple of this
END_MARK = 2 * BLOCK  # of zeros
MAX_EXTENDED = 1 << 20  # bytes of an extended header: names of a few thousand, and attributes we do not read
_REMEDY = "fetch or make the shard again (`phreg pack` writes such shards); it was not used"
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}


@dataclass(frozen=True, slots=True)
class Member:
    """A file, folder, or other thing (links, devices, sparse files), and where its data lies in the tar."""

    name: str
    kind: Kind
    start: int
    size: int


def scan_tar(file: BinaryIO, url: str) -> list[Member]:
    """All members of a plain tar, from its headers; `file` must seek. Raises `ShardError`."""
    file.seek(0)
    _check_start(file.read(BLOCK), url)
    reader = _Reader(file, file.seek(0, io.SEEK_END))
    members: list[Member] = []
    try:
        members.extend(reader.members())
    except HeaderError as error:
        found = f"{error}, after {reader.whole} whole members"
        raise _untrusted(url, "is cut short or damaged", found) from None
    _check_end(file, url, reader.place, len(members))
    return members


@dataclass
class _Reader:
    """Walks from header to header. `place`: behind all that was read and is whole."""

    file: BinaryIO
    length: int
    place: int = 0
    whole: int = 0
    for_all: dict[str, str] = field(default_factory=dict)

    def members(self) -> Iterator[Member]:
        """Up to the first block of zeros, or the end of the file."""
        while any(block := self._block(self.place)):
            member = self._member(block)
            self.whole += 1
            yield member

    def _member(self, block: bytes) -> Member:
        place, own = self.place, dict[str, str]()
        header = parse_header(block)
        while header.type in EXTENDED:
            data, place = self._extended(header, place)
            if header.type == b"g":
                self.for_all |= pax_records(data)
            else:
                own = extended_records(header.type, data) | own  # of two, the first holds, as for tarfile
            header = parse_header(self._block(place))
        if "size" in self.for_all:
            raise HeaderError("a size for all members")
        start, size = self._behind_map(header, place + BLOCK), header.data_size(own)
        self.place = self._within(start, size)
        records = self.for_all | own
        # pax writes a sparse file as a plain one, whose data is not the file's.
        sparse = "GNU.sparse.map" in records or "GNU.sparse.name" in records
        return Member(header.full_name(records), "other" if sparse else header.kind, start, size)

    def _extended(self, header: Header, place: int) -> tuple[bytes, int]:
        """The data of an extended header at a place, and the place behind it."""
        if header.size > MAX_EXTENDED:
            raise HeaderError(f"an extended header of {header.size} bytes")
        end = self._within(place + BLOCK, header.size)
        self.file.seek(place + BLOCK)
        return self.file.read(header.size), end

    def _behind_map(self, header: Header, place: int) -> int:
        """The start of the data: a sparse file's map may take blocks of its own before it."""
        more = header.more
        while more:
            block = self._block(place)
            if len(block) != BLOCK:
                raise HeaderError("a sparse file's map without an end")
            more, place = block[504] > 0, place + BLOCK
        return place

    def _within(self, start: int, size: int) -> int:
        """The place behind data and padding. Raises `HeaderError` if the file ends before."""
        end = start + -(-size // BLOCK) * BLOCK
        if end > self.length:
            raise HeaderError(f"unexpected end of data: {size} bytes at byte {start} of {self.length}")
        return end

    def _block(self, place: int) -> bytes:
        self.file.seek(place)
        return self.file.read(BLOCK)


def _check_start(start: bytes, url: str) -> None:
    if not start:
        raise _untrusted(url, "is empty", "0 bytes")
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            raise _untrusted(
                url, "is not a plain tar archive", f"{name} data", "unpack it to a plain .tar first"
            )
    if not any(start):
        raise _untrusted(url, "holds no samples", "zeros where its first member should be")
    try:
        parse_header(start)
    except HeaderError as error:
        raise _untrusted(url, "is not a tar archive", f"{error} at its start") from None


def _check_end(file: BinaryIO, url: str, end: int, members: int) -> None:
    """After the last member come two zero blocks, then at most zeros up to a whole record."""
    file.seek(end)
    tail = file.read(END_MARK + RECORD + 1)
    after = f"after {members} whole members, at byte {end}"
    if len(tail) < END_MARK and not any(tail):
        raise _untrusted(url, "is cut short", f"no end-of-archive mark {after}")
    if any(tail[:BLOCK]):
        raise _untrusted(url, "is cut short or damaged", f"a broken header {after}")
    if any(tail):
        raise _untrusted(url, "goes on after its end", f"data behind the end-of-archive mark {after}")
    if len(tail) > END_MARK + RECORD:
        raise _untrusted(
            url, "ends in too many zeros", f"more than {END_MARK + RECORD} {after}: a download that stopped?"
        )


def _untrusted(url: str, problem: str, found: str, remedy: str = _REMEDY) -> ShardError:
    return ShardError(
        f"The shard {url} {problem}",
        expected="a whole plain tar with images, ended by two zero blocks",
        found=found,
        remedy=remedy,
    )
