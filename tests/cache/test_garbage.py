import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from phreg.cache import CommitRecord, TargetStore, collect_garbage
from phreg.cache.store import TargetRows
from phreg.storage import Folder
from tests.cache.examples import SHARD_DIGEST, assert_equal_rows, make_rows, make_spec

HOUR = 3600.0


def left_behind(store: TargetStore, name: str, rows: TargetRows | None = None) -> CommitRecord:
    """An attempt without a record, as a killed writer leaves it."""
    record = store.commit(name, SHARD_DIGEST, rows or make_rows())
    store.discard(name)
    return record


def in_two_hours() -> float:
    return time.time() + 2 * HOUR


def test_only_old_garbage_goes(cache: Folder) -> None:
    store = TargetStore.create(cache, make_spec())
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    garbage = left_behind(store, "photos-1")
    place = f"{store.digest}/{garbage.folder}"
    young = collect_garbage(cache, grace_seconds=HOUR)
    assert (young.removed, young.kept_young, young.bytes) == ((), (place,), 0)
    dry = collect_garbage(cache, grace_seconds=HOUR, dry_run=True, now=in_two_hours())
    assert store.folder.list(garbage.folder)
    report = collect_garbage(cache, grace_seconds=HOUR, now=in_two_hours())
    assert report == dry
    assert (report.removed, report.bytes, report.kept_young) == ((place,), garbage.bytes, ())
    assert store.folder.list(garbage.folder) == []
    assert_equal_rows(store.read("photos-0"), make_rows())
    assert collect_garbage(cache, grace_seconds=HOUR, now=in_two_hours()).removed == ()


def test_an_attempt_is_as_young_as_its_newest_object(disk: Folder) -> None:
    """A slow writer's first objects may be old while it is still at work."""
    store = TargetStore.create(disk, make_spec())
    record = left_behind(store, "photos-1")
    for path in sorted(record.objects)[:-1]:
        os.utime(store.folder.local_path / record.folder / path, (0, 0))
    assert collect_garbage(disk, HOUR).removed == ()
    assert len(collect_garbage(disk, HOUR, now=in_two_hours()).removed) == 1


def test_the_grace_period_is_a_day_unless_told(disk: Folder) -> None:
    left_behind(TargetStore.create(disk, make_spec()), "photos-1")
    assert collect_garbage(disk, now=time.time() + 23 * HOUR).removed == ()
    assert len(collect_garbage(disk, now=time.time() + 25 * HOUR).removed) == 1


def test_shards_with_alike_names_are_kept_apart(disk: Folder) -> None:
    store = TargetStore.create(disk, make_spec())
    kept = [store.commit(name, SHARD_DIGEST, make_rows()) for name in ("a", "a-b", "a-000000000000")]
    left_behind(store, "a-c")
    assert len(collect_garbage(disk, 0, now=in_two_hours()).removed) == 1
    for record in kept:
        store.read(record.shard)


def test_all_specs_are_cleaned_and_nothing_else(disk: Folder) -> None:
    stores = [TargetStore.create(disk, make_spec(seed=seed)) for seed in range(2)]
    for store in stores:
        left_behind(store, "photos-1")
    disk.write("notes/data/x-000000000000/y", b"someone else's")
    assert len(collect_garbage(disk, 0, now=in_two_hours()).removed) == 2
    assert disk.exists("notes/data/x-000000000000/y")
    assert all(store.folder.exists("spec.json") for store in stores)


def test_a_damaged_record_protects_its_shard(disk: Folder) -> None:
    store = TargetStore.create(disk, make_spec())
    record = store.commit("photos-0", SHARD_DIGEST, make_rows())
    store.folder.write("shards/photos-0.json", b"")
    left_behind(store, "photos-1")
    report = collect_garbage(disk, 0, now=in_two_hours())
    assert report.unreadable == (f"{store.digest}/shards/photos-0.json",)
    assert len(report.removed) == 1
    assert store.folder.list(record.folder)


def test_interrupted_local_writes_go(disk: Folder) -> None:
    store = TargetStore.create(disk, make_spec())
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    leftovers = [
        Path(store.folder.local_path) / "shards" / ".phreg-1",
        Path(store.folder.local_path) / "data" / ".phreg-2",
    ]
    for file in leftovers:
        file.write_bytes(b"half")
    collect_garbage(disk, HOUR)
    collect_garbage(disk, HOUR, dry_run=True, now=in_two_hours())
    assert all(file.exists() for file in leftovers)
    collect_garbage(disk, HOUR, now=in_two_hours())
    assert not any(file.exists() for file in leftovers)
    store.read("photos-0")


def test_a_cache_that_is_not_there_has_no_garbage(cache: Folder) -> None:
    assert collect_garbage(cache).removed == ()


def during(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, action: Callable[[], object], before: bool
) -> None:
    """Run `action` once, just before or after the first call of a folder's method on a path."""
    real, pending = getattr(Folder, method), [action]

    def hooked(self: Folder, *args: object) -> object:
        mine = bool(pending) and str(args[0] if args else "").startswith(path)
        if mine and before:
            pending.pop()()
        result = real(self, *args)
        if mine and not before:
            pending.pop()()
        return result

    monkeypatch.setattr(Folder, method, hooked)


def test_gc_between_a_writers_data_and_its_commit(disk: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TargetStore.create(disk, make_spec())
    during(monkeypatch, "create", "shards/", lambda: collect_garbage(disk, HOUR), before=True)
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    assert_equal_rows(store.read("photos-0"), make_rows())


@pytest.mark.parametrize(("method", "path"), [("list", "data"), ("children", "shards")])
def test_a_commit_during_gc_is_kept(
    disk: Folder, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """Even without a grace period: data is listed first, records are read after it."""
    store = TargetStore.create(disk, make_spec())
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    record = left_behind(store, "photos-1")

    def commit_it() -> None:
        store.folder.create("shards/photos-1.json", record.to_json())
        store.commit("photos-2", SHARD_DIGEST, make_rows())

    during(monkeypatch, method, path, commit_it, before=method == "children")
    assert collect_garbage(disk, 0, now=in_two_hours()).removed == ()
    for name in ("photos-0", "photos-1", "photos-2"):
        assert_equal_rows(store.read(name), make_rows())
