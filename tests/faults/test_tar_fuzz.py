"""The tar reader under fuzzing: what is in a shard, or why not; no other exception, no wrong bytes."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phreg.data import count_samples, read_shard
from phreg.data.shard import IMAGE_EXTENSIONS
from phreg.data.tar import BLOCK, scan_tar
from phreg.errors import ShardError
from tests.data.test_tar import resealed, tar_of

pytestmark = pytest.mark.timeout(240)
FUZZ = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
KINDS = (
    *(tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE),
    *(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE),
)
PLAIN = KINDS[:3]
STEMS = st.text("abé./ ", min_size=1, max_size=8) | st.sampled_from(
    ["k" * 120, "d/" * 60 + "k", "e\u0301", "é"]
)
MEMBERS = st.lists(
    st.tuples(
        STEMS,
        st.sampled_from(["jpg", "JPG", "png", "txt", "cls.png"]),
        st.sampled_from((tarfile.REGTYPE,) * 6 + KINDS),
        st.binary(max_size=700),
    ),
    max_size=6,
)


def written(members: list[tuple[str, str, bytes, bytes]], tar_format: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for stem, extension, kind, data in members:
            info = tarfile.TarInfo(f"{stem}.{extension}")
            info.type, info.size = kind, len(data) if kind in PLAIN else 0
            info.linkname = "" if kind in PLAIN else "elsewhere.jpg"
            tar.addfile(info, io.BytesIO(data) if kind in PLAIN else None)
    return buffer.getvalue()


def outcome(read: Callable[[str], object], path: Path) -> object:
    try:
        return read(str(path))
    except ShardError as error:
        return error


@FUZZ
@given(MEMBERS, st.sampled_from(FORMATS))
def test_a_shard_gives_exactly_what_was_put_into_it(
    tmp_path: Path, members: list[tuple[str, str, bytes, bytes]], tar_format: int
) -> None:
    path = tmp_path / "x.tar"
    try:
        path.write_bytes(written(members, tar_format))
    except ValueError:  # a name that this format cannot hold
        return
    shard = outcome(read_shard, path)
    images = [
        (f"{stem}.{extension}", data)
        for stem, extension, kind, data in members
        if kind in PLAIN and extension.lower() in IMAGE_EXTENSIONS
    ]
    if isinstance(shard, ShardError):
        assert isinstance(outcome(count_samples, path), ShardError)
        return
    assert count_samples(str(path)) == len(shard.samples)
    keys = [sample.key for sample in shard.samples]
    assert len(keys) == len(set(keys))
    for sample in shard.samples:
        assert any(name.startswith(f"{sample.key}.") and data == sample.image for name, data in images)
        assert ".." not in sample.key.split("/")
        assert not sample.key.startswith("/")


@FUZZ
@given(st.lists(st.tuples(st.integers(1, 30), st.binary(max_size=900)), unique_by=lambda m: m[0], min_size=1))
def test_good_shards_lose_nothing(tmp_path: Path, members: list[tuple[int, bytes]]) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(written([(f"k{n}", "jpg", tarfile.REGTYPE, data) for n, data in members], FORMATS[2]))
    shard = read_shard(str(path))
    assert [(s.key, s.image) for s in shard.samples] == [(f"k{n}", data) for n, data in members]
    assert not shard.quarantined


@FUZZ
@given(st.binary(max_size=3000) | st.binary(max_size=1600).map(lambda tail: tar_of((40, 7)) + tail))
def test_random_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    shard, count = outcome(read_shard, path), outcome(count_samples, path)
    assert isinstance(shard, ShardError) == isinstance(count, ShardError)


LONG = tar_of((1300, 40, 512), tarfile.PAX_FORMAT, "é" * 80 + "{}.jpg") + b""
BASES = (tar_of((1300, 40, 512, 0)), tar_of((30, 600), tarfile.GNU_FORMAT, "n" * 150 + "{}.jpg"), LONG)


@FUZZ
@given(
    st.integers(0, len(BASES) - 1),
    st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 255)), min_size=1, max_size=4),
    st.booleans(),
)
def test_mutated_tars_agree_with_tarfile(base: int, changes: list[tuple[int, int]], reseal: bool) -> None:
    """Where both read a tar, they find the same members in the same places, up to where tarfile stops."""
    data = bytearray(BASES[base])
    for place, value in changes:
        data[place % len(data)] = value
    mutated = bytes(data)
    if reseal:  # so that more than the checksum is tried
        for place, _ in changes:
            mutated = resealed(mutated, place % len(mutated) // BLOCK * BLOCK, 0, b"")
    try:
        ours = scan_tar(io.BytesIO(mutated), "x.tar")
    except ShardError:
        return
    assert all(m.size >= 0 and m.start + m.size <= len(mutated) for m in ours)
    try:
        with tarfile.open(fileobj=io.BytesIO(mutated)) as tar:
            theirs = [(m.name, m.offset_data, m.size) for m in tar if m.isreg() and m.sparse is None]
    except Exception:
        return  # its own exceptions on hostile bytes are why we read tars ourselves
    found = [(m.name, m.start, m.size) for m in ours if m.kind == "file"]
    assert theirs == found[: len(theirs)]  # it ends without a word at fields that we do not read
