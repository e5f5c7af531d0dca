"""Tars that cannot be trusted as a whole: a ShardError that names the shard."""

import functools
import gzip
import io
import tarfile
from collections.abc import Callable

from tests.data.test_tar import resealed
from tests.faults.hostile.case import Case, file_of
from tests.helpers import jpeg_bytes, make_image

IMAGE = jpeg_bytes(make_image(0, 16, 12))
BLOCK = 512
GNU, PAX = tarfile.GNU_FORMAT, tarfile.PAX_FORMAT


def tar(*names: str, tar_format: int = PAX, data: bytes = IMAGE, pax: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format, pax_headers=pax or {}) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def with_pax(records: bytes, kind: bytes = b"x") -> bytes:
    """A shard of one image whose extended header holds these bytes."""
    return header("./PaxHeaders/a", kind, len(records)) + padded(records) + tar("a.jpg")


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode()
    length = len(text)
    while len(str(length)) + len(text) != length:
        length = len(str(length)) + len(text)
    return str(length).encode() + text


def first_header_with(field: int, value: bytes) -> bytes:
    return resealed(tar("a.jpg", "b.jpg"), 0, field, value)


WHOLE = tar("a.jpg", "b.jpg", "c.jpg", "d.jpg")
STEP = BLOCK + len(padded(IMAGE))
_CUTS = {f"cut before member {n}" if n < 4 else "cut before its end mark": n * STEP for n in range(5)}
_CUTS |= {f"cut in the header of member {n}": n * STEP + 200 for n in range(4)}
_CUTS |= {f"cut in the data of member {n}": n * STEP + BLOCK + 100 for n in range(4)}
_CUTS |= {"cut in its end mark": 4 * STEP + 700}

_MADE: dict[str, tuple[Callable[[], bytes], str]] = {
    **{name: (functools.partial(WHOLE.__getitem__, slice(place)), "cut short|is empty|not a tar")
       for name, place in _CUTS.items()},
    "gzip called tar": (lambda: gzip.compress(WHOLE), "gzip"),
    "two tars joined": (lambda: WHOLE + WHOLE, "goes on after its end"),
    "zeros": (lambda: bytes(200_000), "no samples"),
    "a download into zeros": (lambda: WHOLE[: 2 * STEP] + bytes(300_000), "too many zeros"),
    "an HTML page": (lambda: b"<html>not found</html>" * 100, "not a tar"),
    "a JPEG": (lambda: IMAGE, "not a tar"),
    "a key twice": (lambda: tar("a.jpg", "b.jpg", "a.jpg"), "key 'a' twice"),
    "a key twice, apart in case of its extension": (lambda: tar("a.jpg", "a.JPG"), "key 'a' twice"),
    "a wrong checksum": (lambda: b"X" + WHOLE[1:], "checksum"),
    "a size below zero": (lambda: first_header_with(124, b"\xff" * 11 + b"\xfe"), "below zero"),
    "a size of 2^88": (lambda: first_header_with(124, b"\x80" + b"\xff" * 11), "cut short or damaged"),
    "a size of 8 GB": (lambda: first_header_with(124, b"77777777777\0"), "unexpected end"),
    "a size that is no number": (lambda: first_header_with(124, b"12 34x_67890"), "a number of"),
    "pax: a size below zero": (lambda: with_pax(record("size", "-512")), "a size of"),
    "pax: a size of 10^18": (lambda: with_pax(record("size", "9" * 18)), "unexpected end"),
    "pax: a size in words": (lambda: with_pax(record("size", "many")), "a size of 'many'"),
    "pax: a size for all members": (lambda: with_pax(record("size", "0"), b"g"), "a size for all"),
    "pax: a record without a key": (lambda: with_pax(b"5 =a\n"), "pax"),
    "pax: a record of length 0": (lambda: with_pax(b"0 path=a\n"), "pax"),
    "pax: a record longer than all": (lambda: with_pax(b"999999 path=a\n"), "pax"),
    "pax: half a megabyte of digits": (lambda: with_pax(b"1" * 500_000), "pax"),
    "pax: half a megabyte of hdrcharset": (lambda: with_pax(b"20 hdrcharset=" * 35_000), "pax"),
    "pax: an empty name": (lambda: with_pax(record("path", "")), "empty name"),
    "pax: records of 2 MB": (lambda: with_pax(record("comment", "x" * 2_000_000)), "extended header of"),
    "an extended header of 8 GB": (
        lambda: header("a", b"x", 8**11 - 1) + tar("a.jpg"),
        "extended header of",
    ),
    "only an extended header": (
        lambda: header("a", b"x", 10) + padded(record("a", "b")) + bytes(1024),
        "cut short",
    ),
    "a sparse file's map without an end": (
        lambda: resealed(resealed(tar("a.jpg"), 0, 156, b"S"), 0, 482, b"\1")[:BLOCK],
        "cut short",
    ),
    "only folders": (lambda: header("a.jpg", b"5", 0) + bytes(1024), "no samples"),
    "only labels": (lambda: tar("a.txt", "b.json"), "no samples"),
    "pax: only a name with ..": (lambda: with_pax(record("path", "../b.jpg")), "no samples"),
    "only names with ..": (lambda: tar("../a.jpg"), "no samples"),
}  # fmt: skip
CASES = tuple(
    Case("tar", name, file_of("x-0.tar", data), "ShardError", says) for name, (data, says) in _MADE.items()
)
