"""Commit records of a newer phreg: named as such, and never discarded, healed or collected."""

from pathlib import Path

import pytest

from phreg.cache import CommitRecord, TargetStore, collect_garbage, open_cache, verify
from phreg.cli import main
from phreg.errors import CorruptTargetsError, SpecMismatchError
from phreg.storage import Folder
from phreg.storage.checksummed import from_checksummed_json, to_checksummed_json
from tests.cache.examples import SHARD_DIGEST, make_rows, make_spec
from tests.cache.test_garbage import in_two_hours, left_behind
from tests.generate.worlds import make_world
from tests.helpers import write_shard

RECORD = "shards/a.json"
NEWER = "written by a newer phreg"


def make_later(store: TargetStore, **more: object) -> bytes:
    """The record of the shard `a` as a later format has it: whole, with fields that we do not know."""
    later = to_checksummed_json(
        from_checksummed_json(store.folder.read(RECORD)) | {"format_version": 2, "codec": "new"} | more
    )
    store.folder.write(RECORD, later)
    return later


@pytest.fixture
def store(disk: Folder) -> TargetStore:
    store = TargetStore.create(disk, make_spec())
    for name in ("a", "b"):
        store.commit(name, SHARD_DIGEST, make_rows())
    return store


def test_whoever_reads_one_is_told(store: TargetStore) -> None:
    later = make_later(store)
    for read in (
        lambda: store.read("a"),
        lambda: store.commit("a", SHARD_DIGEST, make_rows()),
        lambda: store.records(),
    ):
        with pytest.raises(SpecMismatchError, match=NEWER) as caught:
            read()
        assert "found: one of format 2" in str(caught.value)
        assert "the newer phreg that wrote it" in caught.value.remedy
    assert NEWER in open_cache(store.cache.url).summaries()[0].problem
    assert store.folder.read(RECORD) == later


def test_a_damaged_one_is_damaged(store: TargetStore) -> None:
    later = make_later(store)
    with pytest.raises(CorruptTargetsError):
        CommitRecord.from_json(later.replace(b"new", b"old"), "a", "url")
    for version in (0, "2", 2.0, True, None):
        with pytest.raises(CorruptTargetsError):
            CommitRecord.from_json(make_later(store, format_version=version), "a", "url")


def test_it_is_not_discarded(store: TargetStore) -> None:
    attempt = from_checksummed_json(store.folder.read(RECORD))["attempt"]
    later = make_later(store)
    assert not store.discard_damaged("a", None)
    assert not store.discard_damaged("a", attempt)
    assert store.folder.read(RECORD) == later


def test_it_is_not_healed(store: TargetStore, capsys: pytest.CaptureFixture[str]) -> None:
    later = make_later(store)
    report = verify(store)
    assert [shard for shard, _ in report.problems] == ["a"]
    assert (report.damaged, report.shards) == ({}, 1)
    assert main(["cache", "verify", store.cache.url, "--heal"]) == 1
    assert NEWER in capsys.readouterr().out
    assert store.folder.read(RECORD) == later


def test_nothing_of_its_spec_is_collected(
    disk: Folder, store: TargetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """How its data lies, and what is garbage there, only the newer phreg knows."""
    other = TargetStore.create(disk, make_spec(seed=1))
    for each in (store, other):
        left_behind(each, "c")
    make_later(store)
    there = store.folder.list()
    report = collect_garbage(disk, 0, now=in_two_hours())
    assert [place.partition("/")[0] for place in report.removed] == [other.digest]
    assert NEWER in report.newer[0]
    assert store.folder.list() == there
    assert main(["cache", "gc", disk.url, "--grace-hours", "0"]) == 1
    assert "all of its spec was kept" in capsys.readouterr().err
    assert store.folder.list() == there


def test_a_run_does_not_make_it_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path)
    url = str(write_shard(tmp_path / "a.tar", 2))
    world.generator().generate(url)
    later = make_later(world.store)
    with pytest.raises(SpecMismatchError, match=NEWER):
        world.generator().generate(url)
    assert main(["cache", "quarantined", world.cache.url]) == 1
    assert NEWER in capsys.readouterr().err
    assert world.store.folder.read(RECORD) == later
