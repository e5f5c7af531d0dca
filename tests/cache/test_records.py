import pickle

import pytest

from phreg.cache import CommitRecord
from phreg.cache.records import ObjectDigest, check_shard_name
from phreg.errors import CacheError, CorruptTargetsError, SpecMismatchError
from phreg.storage.checksummed import to_checksummed_json
from phreg.types import Quarantined


def make_record(**changes: object) -> CommitRecord:
    fields: dict = {
        "shard": "photos-0",
        "shard_digest": "5" * 64,
        "attempt": "0123456789ab",
        "rows": 3,
        "quarantined": (Quarantined("a/é", "cannot be decoded"),),
        "bytes": 10,
        "objects": {"zarr.json": ObjectDigest(10, "a" * 64)},
        "data_digest": "b" * 64,
        "created": "2026-01-01T00:00:00+00:00",
    }
    return CommitRecord(**(fields | changes))


def test_round_trip() -> None:
    record = make_record()
    found = CommitRecord.from_json(record.to_json(), "photos-0", "url")
    assert found == record == pickle.loads(pickle.dumps(record))
    assert found.quarantined[0].reason == "cannot be decoded"
    assert found.objects["zarr.json"].size == 10


def test_every_flipped_byte_is_found() -> None:
    data = make_record().to_json()
    for place in range(len(data)):
        for bit in (1, 4, 0x20):
            damaged = bytearray(data)
            damaged[place] ^= bit
            with pytest.raises(CorruptTargetsError, match=r"shards/photos-0\.json"):
                CommitRecord.from_json(bytes(damaged), "photos-0", "shards/photos-0.json")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"1", b"\xff", b"[" * 100_000])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptTargetsError):
        CommitRecord.from_json(data, "photos-0", "url")


def test_every_cut_is_found() -> None:
    data = make_record().to_json()
    for length in range(len(data)):
        with pytest.raises(CorruptTargetsError):
            CommitRecord.from_json(data[:length], "photos-0", "url")


def test_the_record_of_another_shard_is_refused() -> None:
    with pytest.raises(CorruptTargetsError, match="another shard"):
        CommitRecord.from_json(make_record().to_json(), "photos-1", "url")


def test_a_record_of_a_later_format_is_refused() -> None:
    fields = make_record().model_dump(mode="json") | {"format_version": 2}
    with pytest.raises(SpecMismatchError, match="newer phreg"):
        CommitRecord.from_json(to_checksummed_json(fields), "photos-0", "url")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", ".hidden", "a\0", "a\n", "é" * 120])
def test_names_that_are_no_part_of_a_path_are_refused(name: str) -> None:
    with pytest.raises(CacheError):
        check_shard_name(name)


@pytest.mark.parametrize("name", ["photos-000000", "a b", "é", "x.y~z+1=@,", "a..b"])
def test_other_names_are_taken(name: str) -> None:
    assert check_shard_name(name) == name
