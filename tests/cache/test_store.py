"""Commit and read, on every backend; damage and races, on the local disk."""

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import zarr

from phreg.cache import TargetStore
from phreg.cache.encodings import LAYOUTS
from phreg.cache.records import data_digest
from phreg.errors import (
    CacheError,
    ContentMismatchError,
    CorruptTargetsError,
    MissingTargetsError,
    ObjectNotFoundError,
    SpecMismatchError,
    StorageError,
)
from phreg.storage import Folder
from phreg.types import Damage, Quarantined
from tests.cache.examples import SHARD_DIGEST, assert_equal_rows, make_rows, make_spec

OTHER_DIGEST = "6" * 64


@pytest.fixture
def store(disk: Folder) -> TargetStore:
    return TargetStore.create(disk, make_spec())


def attempts(store: TargetStore) -> list[str]:
    return store.folder.children("data")


# Commit and read


@pytest.mark.parametrize("encoding", sorted(LAYOUTS))
def test_round_trip(cache: Folder, encoding: str) -> None:
    store = TargetStore.create(cache, make_spec(encoding))
    rows = make_rows(3, encoding)
    bad = (Quarantined("k9", "cannot be decoded"),)
    record = store.commit("photos-0", SHARD_DIGEST, rows, bad)
    assert (record.rows, record.quarantined, record.shard_digest) == (3, bad, SHARD_DIGEST)
    assert record.data_digest == data_digest(record.objects)
    stored = {item.path: item.size for item in store.folder.list(record.folder)}
    assert stored == {f"{record.folder}/{path}": found.size for path, found in record.objects.items()}
    assert record.bytes == sum(stored.values())
    again = TargetStore.open(cache, store.digest)
    assert again.spec == store.spec
    assert_equal_rows(again.read("photos-0", SHARD_DIGEST), rows)
    assert again.record("photos-0") == again.records()["photos-0"] == record
    assert again.shards() == ["photos-0"]


@pytest.mark.parametrize("variance", [False, True])
def test_a_variance_is_there_where_the_spec_says_so_and_nowhere_else(disk: Folder, variance: bool) -> None:
    store = TargetStore.create(disk, make_spec(variance=variance))
    with pytest.raises(CacheError, match="with their variance"):
        store.commit("a", SHARD_DIGEST, make_rows(variance=not variance))
    store.commit("a", SHARD_DIGEST, make_rows(variance=variance))
    assert store.read("a").features.has_variance is variance


def test_a_shard_without_a_usable_sample(cache: Folder) -> None:
    store = TargetStore.create(cache, make_spec())
    record = store.commit("empty", SHARD_DIGEST, make_rows(0), [Quarantined("k0", "bad")])
    assert record.rows == 0
    assert len(store.read("empty")) == 0


def test_many_rows_in_several_objects(store: TargetStore) -> None:
    store.commit("photos-0", SHARD_DIGEST, make_rows(70))
    assert_equal_rows(store.read("photos-0"), make_rows(70))


def test_nothing_is_committed_yet(cache: Folder) -> None:
    store = TargetStore.create(cache, make_spec())
    assert store.record("photos-0") is None
    assert store.check_content("photos-0", SHARD_DIGEST) is None
    assert store.records() == {}
    with pytest.raises(MissingTargetsError, match="photos-0") as caught:
        store.read("photos-0")
    assert caught.value.damage == Damage(store.digest, "photos-0", None)


def test_a_second_commit_is_the_first(store: TargetStore) -> None:
    first = store.commit("photos-0", SHARD_DIGEST, make_rows())
    assert store.commit("photos-0", SHARD_DIGEST, make_rows()) == first
    assert len(attempts(store)) == 1


def test_equal_targets_have_one_digest(disk: Folder) -> None:
    records = [
        TargetStore.create(disk / name, make_spec()).commit("photos-0", SHARD_DIGEST, make_rows())
        for name in ("a", "b")
    ]
    assert records[0].attempt != records[1].attempt
    assert records[0].data_digest == records[1].data_digest
    assert records[0].objects == records[1].objects


def test_plain_zarr_opens_what_was_committed(store: TargetStore) -> None:
    record = store.commit("photos-0", SHARD_DIGEST, make_rows())
    group = zarr.open_group(f"file://{store.folder.local_path}/{record.folder}", mode="r")
    assert group["features"].shape == (3, 6, 5)


def test_plain_zarr_opens_what_was_committed_to_s3(s3_folder: Folder) -> None:
    store = TargetStore.create(s3_folder, make_spec())
    record = store.commit("photos-0", SHARD_DIGEST, make_rows())
    group = zarr.open_group(store.folder.url_of(record.folder), mode="r")
    assert (group["boxes"][:] == make_rows().boxes).all()


def test_a_store_pickles(store: TargetStore) -> None:
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    copy = pickle.loads(pickle.dumps(store))
    assert_equal_rows(copy.read("photos-0"), make_rows())


# Other content, other spec


def test_another_content_under_the_name_is_an_error(store: TargetStore) -> None:
    record = store.commit("photos-0", SHARD_DIGEST, make_rows())
    uses: list[Callable[[], object]] = [
        lambda: store.check_content("photos-0", OTHER_DIGEST),
        lambda: store.read("photos-0", OTHER_DIGEST),
        lambda: store.commit("photos-0", OTHER_DIGEST, make_rows(seed=1)),
    ]
    for use in uses:
        with pytest.raises(ContentMismatchError, match="'photos-0'") as caught:
            use()
        assert SHARD_DIGEST in str(caught.value)
        assert OTHER_DIGEST in str(caught.value)
    assert store.records() == {"photos-0": record}
    assert store.check_content("photos-0", SHARD_DIGEST) == record


@pytest.mark.parametrize(
    ("encoding", "changes"),
    [("float32", {}), ("float16", {"views": 3}), ("float16", {"grid_size": (6, 6)}), ("float16", {"dim": 4})],
)
def test_rows_of_another_spec_are_refused(store: TargetStore, encoding: str, changes: dict) -> None:
    other = TargetStore.create(store.cache, make_spec(encoding, **changes))
    rows = make_rows()
    with pytest.raises(CacheError, match="do not fit the target spec"):
        other.commit("photos-0", SHARD_DIGEST, rows)
    assert attempts(other) == []


def test_specs_live_side_by_side(store: TargetStore) -> None:
    other = TargetStore.create(store.cache, make_spec("int8"))
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    assert other.record("photos-0") is None


@pytest.mark.parametrize(
    ("altered", "found"),
    [
        (make_spec(seed=7, views=2).to_json(), "seed: 7 instead of 0; views: 2 instead of 4"),
        (b"{", "no JSON object"),
        (make_spec().to_json() + b" ", "mean the same"),
    ],
)
def test_an_altered_spec_is_refused_and_put_right_by_who_knows_it(
    cache: Folder, altered: bytes, found: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = TargetStore.create(cache, make_spec())
    assert TargetStore.create(cache, make_spec()).folder == store.folder
    store.folder.write("spec.json", altered)
    with pytest.raises(SpecMismatchError, match=store.digest):
        TargetStore.open(cache, store.digest)
    assert TargetStore.create(cache, make_spec()) == store
    assert "spec.json" in caplog.text
    assert found in caplog.text
    assert TargetStore.open(cache, store.digest).spec == make_spec()


def test_a_store_that_is_not_there(cache: Folder) -> None:
    with pytest.raises(MissingTargetsError, match="0123"):
        TargetStore.open(cache, "0123")


def test_a_missing_bucket_is_named(s3_server: str) -> None:
    with pytest.raises(ObjectNotFoundError, match="no-such-bucket-here"):
        TargetStore.create(Folder("s3://no-such-bucket-here/cache"), make_spec())


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".a"])
def test_names_that_are_no_part_of_a_path_are_refused(store: TargetStore, name: str) -> None:
    uses: list[Callable[[str], object]] = [
        store.record,
        store.read,
        store.discard,
        lambda n: store.commit(n, SHARD_DIGEST, make_rows()),
    ]
    for use in uses:
        with pytest.raises(CacheError):
            use(name)
    assert attempts(store) == []


# Damage


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda data: None,
    "emptied": lambda data: b"",
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "first byte": lambda data: flip(data, 0),
    "middle byte": lambda data: flip(data, len(data) // 2),
    "last byte": lambda data: flip(data, len(data) - 1),
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
@pytest.mark.parametrize("encoding", ["float16", "int8"])
def test_damage_to_any_object_is_found(disk: Folder, encoding: str, damage: str) -> None:
    store = TargetStore.create(disk, make_spec(encoding))
    record = store.commit("photos-0", SHARD_DIGEST, make_rows(40, encoding))
    for path in record.objects:
        place = f"{record.folder}/{path}"
        whole = store.folder.read(place)
        damaged = DAMAGES[damage](whole)
        store.folder.remove(place) if damaged is None else store.folder.write(place, damaged)
        with pytest.raises(CorruptTargetsError) as caught:
            store.read("photos-0")
        assert caught.value.damage == Damage(store.digest, "photos-0", record.attempt)
        assert store.folder.url_of(place) in caught.value.problem
        assert "shards/photos-0.json" in caught.value.remedy
        store.folder.write(place, whole)
    assert_equal_rows(store.read("photos-0"), make_rows(40, encoding))


@pytest.mark.parametrize("damage", sorted(set(DAMAGES) - {"deleted"}))
def test_damage_to_a_record_is_found(store: TargetStore, damage: str) -> None:
    record = store.commit("photos-0", SHARD_DIGEST, make_rows())
    store.folder.write("shards/photos-0.json", DAMAGES[damage](record.to_json()) or b"")
    uses: list[Callable[[], object]] = [
        lambda: store.record("photos-0"),
        lambda: store.read("photos-0"),
        lambda: store.commit("photos-0", SHARD_DIGEST, make_rows()),
        store.records,
    ]
    for use in uses:
        with pytest.raises(CorruptTargetsError, match=r"shards/photos-0\.json"):
            use()


def test_objects_that_no_record_lists_do_no_harm(store: TargetStore) -> None:
    record = store.commit("photos-0", SHARD_DIGEST, make_rows())
    store.folder.write(f"{record.folder}/features/c/9/0/0", b"stray")
    store.folder.write("data/photos-0-ffffffffffff/zarr.json", b"another attempt")
    store.folder.write("shards/notes.txt", b"")
    assert_equal_rows(store.read("photos-0"), make_rows())
    assert store.shards() == ["photos-0"]


def test_discarded_targets_are_made_anew(cache: Folder) -> None:
    store = TargetStore.create(cache, make_spec())
    first = store.commit("photos-0", SHARD_DIGEST, make_rows())
    store.folder.remove(f"{first.folder}/zarr.json")
    store.discard("photos-0")
    store.discard("photos-0")
    assert store.record("photos-0") is None
    second = store.commit("photos-0", OTHER_DIGEST, make_rows(seed=1))
    assert second.attempt != first.attempt
    assert_equal_rows(store.read("photos-0", OTHER_DIGEST), make_rows(seed=1))


# Races and interruptions


def test_of_many_writers_one_wins_and_all_agree(cache: Folder) -> None:
    TargetStore.create(cache, make_spec())
    barrier = threading.Barrier(6)

    def write(_: int) -> object:
        store = TargetStore.create(cache, make_spec())
        rows = make_rows()
        barrier.wait(30)
        return store.commit("photos-0", SHARD_DIGEST, rows)

    with ThreadPoolExecutor(6) as pool:
        records = list(pool.map(write, range(6)))
    store = TargetStore.open(cache, make_spec().digest)
    assert all(record == store.record("photos-0") for record in records)
    assert store.shards() == ["photos-0"]
    assert_equal_rows(store.read("photos-0"), make_rows())


def before_create(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Run `action` once, at the moment when a writer has put its data and is about to commit."""
    create, pending = Folder.create, [action]

    def late(self: Folder, path: str, data: bytes) -> bool:
        if pending and path.startswith("shards/"):
            pending.pop()()
        return create(self, path, data)

    monkeypatch.setattr(Folder, "create", late)


def test_a_writer_that_loses_at_the_last_moment_gets_the_winner(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    won = []
    before_create(monkeypatch, lambda: won.append(store.commit("photos-0", SHARD_DIGEST, make_rows())))
    assert store.commit("photos-0", SHARD_DIGEST, make_rows()) == won[0]
    assert len(attempts(store)) == 2
    assert_equal_rows(store.read("photos-0"), make_rows())


def test_a_writer_that_loses_to_another_content_fails(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_create(monkeypatch, lambda: store.commit("photos-0", OTHER_DIGEST, make_rows(seed=1)))
    with pytest.raises(ContentMismatchError):
        store.commit("photos-0", SHARD_DIGEST, make_rows())
    assert_equal_rows(store.read("photos-0"), make_rows(seed=1))


def test_a_commit_whose_answer_was_lost_is_its_own_winner(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3's client repeats a put whose answer got lost, and then loses to itself."""
    create = Folder.create
    monkeypatch.setattr(Folder, "create", lambda *args: create(*args) and False)
    record = store.commit("photos-0", SHARD_DIGEST, make_rows())
    assert store.record("photos-0") == record
    assert len(attempts(store)) == 1


def test_a_commit_survives_the_winner_being_discarded(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, create = [True], Folder.create

    def beaten_by_one_who_goes(self: Folder, path: str, data: bytes) -> bool:
        return False if lost and lost.pop() else create(self, path, data)

    monkeypatch.setattr(Folder, "create", beaten_by_one_who_goes)
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    assert_equal_rows(store.read("photos-0"), make_rows())


def test_a_writer_that_dies_at_any_object_commits_nothing(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.commit("photos-9", SHARD_DIGEST, make_rows())
    write = Folder.write
    for path in before.objects:

        def fail(self: Folder, name: str, data: bytes, path: str = path) -> None:
            if name == path:
                raise StorageError(f"Cannot write {name}")
            write(self, name, data)

        monkeypatch.setattr(Folder, "write", fail)
        with pytest.raises(StorageError, match=path):
            store.commit("photos-0", SHARD_DIGEST, make_rows())
        assert store.shards() == ["photos-9"]
    monkeypatch.undo()
    store.commit("photos-0", SHARD_DIGEST, make_rows())
    assert_equal_rows(store.read("photos-0"), make_rows())
    assert store.record("photos-9") == before


def test_what_fails_while_room_is_given_back_hides_no_error(
    store: TargetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(said: str) -> Callable[..., bool]:
        def failing(folder: Folder, path: str, *data: bytes) -> bool:
            raise StorageError(said)

        return failing

    monkeypatch.setattr(Folder, "write", fail("the disk is full"))
    monkeypatch.setattr(Folder, "exists", fail("cannot look"))
    with pytest.raises(StorageError, match="the disk is full"):
        store.commit("photos-0", SHARD_DIGEST, make_rows(2))
