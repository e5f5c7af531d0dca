"""Strict reading of tar headers: a tar that is cut short, or goes on after its end, is an error.

`tarfile` and WebDataset end without a word at a damaged header, at a member boundary and at zeros;
samples would go missing unnoticed.
"""

import tarfile
from typing import BinaryIO

from phreg.errors import ShardError

BLOCK = 512
RECORD = 20 * BLOCK  # tar, Python and WebDataset pad an archive to a multiple of this
END_MARK = 2 * BLOCK  # of zeros
_REMEDY = "fetch or make the shard again (`phreg pack` writes such shards); it was not used"
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}


def scan_tar(file: BinaryIO, url: str) -> list[tarfile.TarInfo]:
    """All members of a plain tar, from its headers; `file` must seek. Raises `ShardError`."""
    file.seek(0)
    start = file.read(BLOCK)
    _check_start(start, url)
    file.seek(0)
    members: list[tarfile.TarInfo] = []
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                # Sizes below zero would send tarfile backwards, and round for ever.
                if member.size < 0 or tar.offset <= end:
                    raise tarfile.ReadError(f"a member of size {member.size}")
                end = tar.offset
                members.append(member)
    except tarfile.ReadError as error:
        problem = "is cut short or damaged" if members else "is not a tar archive"
        raise _untrusted(url, problem, f"{error}, at or after member {len(members)}") from None
    except (ValueError, OverflowError, RecursionError, tarfile.TarError) as error:  # hostile headers
        raise _untrusted(url, "has a damaged header", f"{type(error).__name__} after byte {end}") from None
    _check_end(file, url, end, len(members))
    return members


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
