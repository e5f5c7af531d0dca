"""Tar headers: blocks of 512 bytes, and the extended headers of GNU and POSIX before them.

Our own reading, in linear time: Python 3.11's tarfile takes minutes for a megabyte of hostile pax records
(CVE-2024-6232), copies a global header into every member, and ends in exceptions that are none of its own.
Names are UTF-8; bytes that are not become surrogates, as Python's file names have them.
"""

import re
from dataclasses import dataclass
from typing import Literal

BLOCK = 512
EXTENDED = b"xXgLK"
"""Headers whose data tells of the next: pax, Solaris' pax, pax for all members, GNU's names and links."""

Kind = Literal["file", "folder", "other"]
_READ = (b"path", b"size", b"GNU.sparse.name")
_LONG_NAME = "GNU.name"
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_LENGTH = re.compile(rb"(\d{1,9}) ")


class HeaderError(Exception):
    """What is wrong with a header, in a few words."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header block by itself. `size`: as it says; `more`: a sparse file's map goes on behind it."""

    name: str
    type: bytes
    kind: Kind
    size: int
    more: bool

    def data_size(self, records: dict[str, str]) -> int:
        """Bytes of data. Links, folders, devices and FIFOs have none, whatever size they claim."""
        if self.type in (b"1", b"2", b"3", b"4", b"5", b"6"):
            return 0
        text = records.get("size")
        if text is None:
            return self.size
        if not re.fullmatch(r"[0-9]{1,19}", text):
            raise HeaderError(f"a size of {text[:20]!r}")
        return int(text)

    def full_name(self, records: dict[str, str]) -> str:
        """The name that extended headers give, or the header's own."""
        for key in (_LONG_NAME, "GNU.sparse.name", "path"):
            if key in records:
                name = records[key].rstrip("/") if key == "path" else records[key]
                if not name and self.kind != "folder":
                    raise HeaderError("an empty name")
                return name
        return self.name


def parse_header(block: bytes) -> Header:
    """Raises `HeaderError`."""
    if len(block) != BLOCK:
        raise HeaderError(f"a header of {len(block)} bytes")
    _check_sum(block)
    kind_byte, name, prefix = block[156:157], _text(block[:100]), _text(block[345:500])
    if prefix and kind_byte not in (b"L", b"K", b"S"):
        name = f"{prefix}/{name}"
    folder = kind_byte == b"5" or (kind_byte == b"\0" and name.endswith("/"))
    kind: Kind = "folder" if folder else "file" if kind_byte in (b"0", b"\0", b"7") else "other"
    sparse = kind_byte == b"S"
    return Header(
        name, b"5" if folder else kind_byte, kind, _number(block[124:136]), sparse and block[482] > 0
    )


def extended_records(kind: bytes, data: bytes) -> dict[str, str]:
    """What the data of an extended header says of the next member."""
    if kind == b"K":  # where a link points
        return {}
    return {_LONG_NAME: _text(data)} if kind == b"L" else pax_records(data)


def pax_records(data: bytes) -> dict[str, str]:
    """Of `LENGTH KEY=VALUE` lines (LENGTH being the whole line's) those we read; the last of equals holds.

    Whatever describes a sparse file comes as `GNU.sparse.map`.
    """
    records: dict[str, str] = {}
    place = 0
    while place < len(data) and data[place]:
        length = _LENGTH.match(data, place)
        end = place + int(length[1]) if length else 0
        if not length or end > len(data) or end <= length.end() or data[end - 1 : end] != b"\n":
            raise HeaderError("damaged pax records")
        key, equals, value = data[length.end() : end - 1].partition(b"=")
        if not key or not equals:
            raise HeaderError("damaged pax records")
        if key in _READ:
            records[key.decode()] = _utf8(value)
        elif key.startswith(b"GNU.sparse."):
            records["GNU.sparse.map"] = ""
        place = end
    return records


def _check_sum(block: bytes) -> None:
    """Some old writers summed signed bytes."""
    rest = block[:148] + b" " * 8 + block[156:]
    found, unsigned = _number(block[148:156]), sum(rest)
    if found != unsigned and found != unsigned - 256 * sum(byte > 127 for byte in rest):
        raise HeaderError("a wrong checksum")


def _number(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set."""
    if field[0] == 0o200:
        return int.from_bytes(field[1:], "big")
    if field[0] == 0o377:
        raise HeaderError("a number below zero")
    digits = _OCTAL.fullmatch(field.partition(b"\0")[0])
    if digits is None:
        raise HeaderError(f"a number of {field!r}")
    return int(digits[1] or b"0", 8)


def _text(field: bytes) -> str:
    return _utf8(field.partition(b"\0")[0])


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
