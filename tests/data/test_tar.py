"""A tar cut anywhere, or damaged, is an error: never fewer samples without a word."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.data.tar import BLOCK, RECORD, Member, scan_tar
from phreg.errors import ShardError
from tests.helpers import write_tar

SIZES = (1300, 40, 512, 0, 1024, 7)


def tar_of(sizes: tuple[int, ...], tar_format: int = tarfile.PAX_FORMAT, name: str = "k{}.jpg") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for i, size in enumerate(sizes):
            info = tarfile.TarInfo(name.format(i))
            info.size = size
            tar.addfile(info, io.BytesIO(b"\xff" * size))
    return buffer.getvalue()


WHOLE = tar_of(SIZES)
END = max(i + 1 for i, byte in enumerate(WHOLE) if byte)
END_OF_MARK = -(-END // BLOCK) * BLOCK + 2 * BLOCK


def scan(data: bytes) -> list[Member]:
    return scan_tar(io.BytesIO(data), "s3://bucket/photos.tar")


def resealed(data: bytes, offset: int, field: int, value: bytes) -> bytes:
    """The tar with a header's field replaced and its checksum made right again."""
    header = bytearray(data[offset : offset + BLOCK])
    header[field : field + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:offset] + bytes(header) + data[offset + BLOCK :]


def test_a_whole_tar_has_all_its_members() -> None:
    assert [member.size for member in scan(WHOLE)] == list(SIZES)


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_format_and_the_least_padding(tar_format: int) -> None:
    data = tar_of(SIZES, tar_format, "folder/" * 12 + "k{}.jpg")
    assert [member.size for member in scan(data)] == list(SIZES)
    assert len(scan(WHOLE[:END_OF_MARK])) == len(SIZES)


@pytest.mark.parametrize("length", range(0, END_OF_MARK, BLOCK))
def test_cut_at_every_block(length: int) -> None:
    with pytest.raises(ShardError, match=r"s3://bucket/photos\.tar"):
        scan(WHOLE[:length])


@given(st.integers(0, END_OF_MARK - 1))
def test_cut_anywhere(length: int) -> None:
    with pytest.raises(ShardError):
        scan(WHOLE[:length])


@pytest.mark.parametrize("length", range(BLOCK, END_OF_MARK - 2 * BLOCK, BLOCK))
def test_cut_at_every_block_with_long_names(length: int) -> None:
    data = tar_of(SIZES, tarfile.GNU_FORMAT, "n" * 150 + "{}.jpg")
    with pytest.raises(ShardError):
        scan(data[:length])


def test_a_download_into_a_preallocated_file() -> None:
    members = 40
    data = tar_of((BLOCK,) * members)
    half = members // 2 * 2 * BLOCK
    with pytest.raises(ShardError, match="too many zeros"):
        scan(data[:half] + bytes(len(data) - half))


def test_two_tars_joined_are_not_silently_the_first() -> None:
    with pytest.raises(ShardError, match="goes on after its end"):
        scan(WHOLE + WHOLE)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "0 bytes"),
        (bytes(10 * RECORD), "zeros"),
        (bytes(2 * BLOCK), "zeros"),
        (b"\x1f\x8b" + bytes(2000), "gzip"),
        (b"<!DOCTYPE html>" * 200, "expected"),
        (b"k", "expected"),
    ],
)
def test_what_is_no_tar(data: bytes, found: str) -> None:
    with pytest.raises(ShardError, match=found) as caught:
        scan(data)
    assert "what to do" in str(caught.value)


@pytest.mark.parametrize("offset", [0, 4 * BLOCK])
def test_a_damaged_header(offset: int) -> None:
    assert WHOLE[offset : offset + 2] in (b"k0", b"k1")
    with pytest.raises(ShardError):
        scan(WHOLE[:offset] + b"X" + WHOLE[offset + 1 :])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "size",
    [
        b"\xff" * 10 + b"\xfe\x00",  # -512: the next member would be this one again
        b"\xff" * 12,
        b"\x80" + b"\xff" * 11,
        b"77777777777\0",
    ],
)
def test_sizes_that_point_backwards_or_far_away(size: bytes) -> None:
    for kind in (b"0", b"L", b"x"):
        data = resealed(resealed(WHOLE, 4 * BLOCK, 124, size), 4 * BLOCK, 156, kind)
        with pytest.raises(ShardError):
            scan(data)


@pytest.mark.timeout(60)
@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(0, 12),
    st.sampled_from([(0, 100), (100, 8), (124, 12), (156, 1), (257, 8), (345, 155), (483, 12)]),
    st.binary(min_size=1, max_size=12),
)
def test_hostile_headers_end_in_members_or_in_shard_errors(
    tar_format: int, block: int, field: tuple[int, int], value: bytes
) -> None:
    data = resealed(
        tar_of(SIZES, tar_format, "é" * 120 + "{}.jpg"), block * BLOCK, field[0], value[: field[1]]
    )
    try:
        members = scan(data)
    except ShardError:
        return
    assert all(member.size >= 0 and member.start + member.size <= len(data) for member in members)


def test_nothing_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_tar(
        tmp_path / "in" / "a.tar", [("../evil.jpg", b"x"), ("/tmp/phreg-evil.jpg", b"x"), ("a.jpg", b"x")]
    )
    with path.open("rb") as file:
        assert len(scan_tar(file, "a")) == 3
    assert [item.name for item in tmp_path.rglob("*")] == ["in", "a.tar"]
