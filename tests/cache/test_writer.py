"""Targets that are written some rows at a time are those that are written at once."""

import threading

import numpy as np
import pytest

from phreg.cache import EncodedFeatures, TargetRows, TargetStore
from phreg.cache.zarr_group import MAX_IMAGES_PER_OBJECT
from phreg.errors import CacheError, NonFiniteError, StorageError
from phreg.storage import Folder
from tests.cache.examples import SHARD_DIGEST, assert_equal_rows, make_rows, make_spec


@pytest.fixture
def store(disk: Folder) -> TargetStore:
    return TargetStore.create(disk, make_spec())


def write(store: TargetStore, *parts: TargetRows) -> None:
    with store.writer("a") as writer:
        for rows in parts:
            writer.add(rows)
        store.commit_written(writer, "a", SHARD_DIGEST)


@pytest.mark.parametrize("encoding", ["float16", "int8"])
@pytest.mark.parametrize("step", [1, 7, 32, 33, 100])
def test_rows_that_stream_give_the_objects_of_rows_at_once(disk: Folder, encoding: str, step: int) -> None:
    store, rows = TargetStore.create(disk, make_spec(encoding)), make_rows(70, encoding)
    at_once = store.commit("whole", SHARD_DIGEST, rows)
    with store.writer("streamed") as writer:
        for first in range(0, 70, step):
            writer.add(rows[range(first, min(first + step, 70))])
        streamed = store.commit_written(writer, "streamed", SHARD_DIGEST)
    assert (streamed.objects, streamed.data_digest) == (at_once.objects, at_once.data_digest)
    assert_equal_rows(store.read("streamed"), rows)


def test_an_object_is_put_as_soon_as_it_is_full(store: TargetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put, write = threading.Event(), Folder.write

    def noted(self: Folder, path: str, data: bytes) -> None:
        write(self, path, data)
        put.set()

    monkeypatch.setattr(Folder, "write", noted)
    rows = make_rows(MAX_IMAGES_PER_OBJECT)
    with store.writer("a") as writer:
        writer.add(rows[range(MAX_IMAGES_PER_OBJECT - 1)])
        assert not store.folder.list("data")
        writer.add(rows[[MAX_IMAGES_PER_OBJECT - 1]])
        assert put.wait(30)
        assert [item.path.partition("/features/")[2] for item in store.folder.list("data")] == ["c/0/0/0"]
        assert store.shards() == []
        store.commit_written(writer, "a", SHARD_DIGEST)
    assert_equal_rows(store.read("a"), rows)


def test_an_error_on_the_way_commits_nothing_and_gives_the_room_back(store: TargetStore) -> None:
    bad = make_rows(2)
    features = bad.features.arrays["features"].copy()
    features[1, 0, 0] = np.nan
    bad = TargetRows(
        bad.keys, bad.crops, bad.boxes, bad.views, EncodedFeatures("float16", {"features": features})
    )
    with pytest.raises(NonFiniteError, match=repr(bad.keys[1])):
        write(store, make_rows(40), bad)
    assert not store.folder.list("data")
    assert store.shards() == []


def test_a_put_that_fails_ends_the_shard(store: TargetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Folder, path: str, data: bytes) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(Folder, "write", full)
    with pytest.raises(StorageError, match="full"):
        write(store, make_rows(40))
    assert store.shards() == []


def test_a_crop_that_comes_twice_is_refused_also_in_two_parts(store: TargetStore) -> None:
    with pytest.raises(CacheError, match="twice"):
        write(store, make_rows(2), make_rows(1))


def test_rows_of_another_shape_are_refused_as_they_come(store: TargetStore) -> None:
    with pytest.raises(CacheError, match="int8"):
        write(store, make_rows(2, "int8"))
