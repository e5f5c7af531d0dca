import pytest

from phreg.cache import Cache, TargetStore, remove_spec
from phreg.errors import CacheError
from phreg.storage import Folder
from tests.cache.examples import SHARD_DIGEST, assert_equal_rows, make_rows, make_spec
from tests.cache.test_garbage import HOUR, in_two_hours, left_behind


def test_one_spec_goes_and_the_others_stay(cache: Folder) -> None:
    gone, kept = (TargetStore.create(cache, make_spec(seed=seed)) for seed in range(2))
    for store in (gone, kept):
        for shard in ("photos-0", "photos-1"):
            store.commit(shard, SHARD_DIGEST, make_rows())
    later = in_two_hours()
    dry = remove_spec(cache, gone.digest, dry_run=True, now=later)
    assert (dry.shards, dry.bytes) == (2, sum(item.size for item in gone.folder.list()))
    assert_equal_rows(gone.read("photos-0"), make_rows())
    assert remove_spec(cache, gone.digest, now=later) == dry
    assert gone.folder.list() == []
    assert Cache(cache).digests() == [kept.digest]
    assert_equal_rows(kept.read("photos-1"), make_rows())


def test_not_while_a_shard_is_being_made(disk: Folder) -> None:
    store = TargetStore.create(disk, make_spec())
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    attempt = left_behind(store, "photos-1")
    with pytest.raises(CacheError, match=rf"somebody seems to work on them(?s:.)*{attempt.attempt}"):
        remove_spec(disk, store.digest, HOUR)
    assert_equal_rows(store.read("photos-0"), make_rows())
    store.folder.write("shards/photos-1.json", b"damaged")
    with pytest.raises(CacheError, match="somebody seems to work on them"):
        remove_spec(disk, store.digest, HOUR)
    assert remove_spec(disk, store.digest, HOUR, now=in_two_hours()).shards == 2


def test_not_while_a_run_is_between_two_shards(cache: Folder) -> None:
    """There is no attempt then; the last thing that it wrote is a record, or at its start the spec."""
    store = TargetStore.create(cache, make_spec())
    for written in ("spec.json", "shards/photos-0.json"):
        with pytest.raises(CacheError, match=rf"somebody seems to work on them(?s:.)*{written}"):
            remove_spec(cache, store.digest, dry_run=True)
        store.commit("photos-0", SHARD_DIGEST, make_rows())
    assert_equal_rows(store.read("photos-0"), make_rows())
    assert remove_spec(cache, store.digest, grace_seconds=0).shards == 1


def test_interrupted_it_leaves_nothing_that_looks_whole(
    disk: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is the last thing that was removed."""
    store = TargetStore.create(disk, make_spec())
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    real = Folder.remove_all

    def first_alone(self: Folder, under: str) -> None:
        if under != "shards":
            raise KeyboardInterrupt
        real(self, under)

    monkeypatch.setattr(Folder, "remove_all", first_alone)
    with pytest.raises(KeyboardInterrupt):
        remove_spec(disk, store.digest, now=in_two_hours())
    monkeypatch.undo()
    assert store.shards() == []
    assert remove_spec(disk, store.digest, now=in_two_hours()).shards == 0
    assert Cache(disk).digests() == []


def test_a_spec_whose_description_is_damaged(disk: Folder) -> None:
    store = TargetStore.create(disk, make_spec())
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    store.folder.write("spec.json", b"{}")
    remove_spec(disk, Cache(disk).digest_of(store.digest[:5]), now=in_two_hours())
    assert Cache(disk).digests() == []
