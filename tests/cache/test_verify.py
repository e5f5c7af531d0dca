import numpy as np
import pytest
import torch

from phreg.cache import EncodedFeatures, TargetRows, TargetStore, verify
from phreg.cache.encodings import LAYOUTS
from phreg.cache.records import ObjectDigest, data_digest
from phreg.cache.zarr_group import rows_to_objects
from phreg.errors import ShardError, StorageError
from phreg.progress import Progress, heard_by
from phreg.storage import Folder
from tests.cache.examples import SHARD_DIGEST, make_features, make_rows, make_spec

ROWS = {"photos-0": 3, "photos-1": 0, "photos-2": 5}


def filled(disk: Folder, encoding: str = "float16", **changes: object) -> TargetStore:
    store = TargetStore.create(disk, make_spec(encoding, **changes))
    for seed, (name, rows) in enumerate(ROWS.items()):
        store.commit(name, SHARD_DIGEST, make_rows(rows, encoding, seed))
    return store


def live_teacher(noise: float = 0.0):
    """What made the targets, with some rounding of its own."""
    asked: list[tuple[str, str, int]] = []

    def recompute(shard: str, places: list[tuple[str, int]]) -> torch.Tensor:
        seed = list(ROWS).index(shard)
        rows, features = make_rows(ROWS[shard], "float32", seed), make_features(ROWS[shard], seed)
        asked.extend((shard, key, crop) for key, crop in places)
        found = features[[rows.row(key, crop) for key, crop in places]]
        return torch.from_numpy(
            found * (1 + noise * np.random.default_rng(0).normal(size=found.shape))
        ).float()

    return recompute, asked


@pytest.mark.parametrize("encoding", sorted(LAYOUTS))
def test_a_whole_cache_is_ok(disk: Folder, encoding: str) -> None:
    store = filled(disk, encoding)
    recompute, asked = live_teacher(noise=1e-5)
    report = verify(store, recompute, samples=6)
    assert report.ok, report.problems
    assert (report.shards, report.rows, report.sampled) == (3, 8, 6)
    assert report.bytes == sum(record.bytes for record in store.records().values())
    assert len(set(asked)) == 6
    assert report.worst_cosine > 0.999
    assert 0 < report.worst_relative_error < 0.03


def test_the_sample_is_of_the_seed_and_covers_all_rows(disk: Folder) -> None:
    store = filled(disk)

    def sample(samples: int, seed: int) -> set[tuple[str, str, int]]:
        recompute, asked = live_teacher()
        verify(store, recompute, samples, seed)
        return set(asked)

    assert sample(4, 0) == sample(4, 0)
    assert len({frozenset(sample(4, seed)) for seed in range(5)}) > 1
    assert len(sample(100, 0)) == 8
    assert sample(0, 0) == set()


@pytest.mark.parametrize("encoding", sorted(LAYOUTS))
def test_a_wrong_target_is_found(disk: Folder, encoding: str) -> None:
    """For instance one made of other views: the same image, a tenth off."""
    recompute, _ = live_teacher(noise=0.1)
    report = verify(filled(disk, encoding), recompute, samples=8)
    assert len(report.problems) == 8
    assert "photos-0" in {shard for shard, _ in report.problems}
    assert report.damaged.keys() == {"photos-0", "photos-2"}
    assert report.worst_relative_error > 0.03


def test_a_bfloat16_teacher_is_given_more(disk: Folder) -> None:
    recompute, _ = live_teacher(noise=6e-3)
    assert not verify(filled(disk), recompute, samples=8).ok
    assert verify(filled(disk, precision="bfloat16"), recompute, samples=8).ok


def test_nan_from_the_teacher_is_a_problem(disk: Folder) -> None:
    report = verify(filled(disk), lambda shard, places: torch.full((len(places), 6, 5), torch.nan), samples=8)
    assert len(report.problems) == 8


def test_a_teacher_of_another_shape_is_a_problem(disk: Folder) -> None:
    report = verify(filled(disk), lambda shard, places: torch.zeros(len(places), 6, 4), samples=8)
    assert {shard for shard, _ in report.problems} == {"photos-0", "photos-2"}


def test_a_shard_that_the_teacher_cannot_read_is_a_problem(disk: Folder) -> None:
    def recompute(shard: str, places: list[tuple[str, int]]) -> torch.Tensor:
        raise ShardError(f"The shard {shard} is cut short")

    report = verify(filled(disk), recompute, samples=8)
    assert all("cut short" in problem for _, problem in report.problems)
    assert not report.ok
    assert not report.damaged  # the targets may be sound


def test_a_store_that_does_not_answer_is_no_damage(disk: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else healing after a network failure would throw sound targets away."""
    store, read = filled(disk), Folder.read

    def unplugged(self: Folder, path: str) -> bytes:
        if "features" in path:
            raise StorageError(f"Cannot read {path}", found="ConnectionError")
        return read(self, path)

    monkeypatch.setattr(Folder, "read", unplugged)
    with pytest.raises(StorageError):
        verify(store)


def test_damage_is_reported_for_every_shard(disk: Folder) -> None:
    store = filled(disk)
    record = store.record("photos-0")
    assert record is not None
    store.folder.remove(f"{record.folder}/features/c/0/0/0")
    store.folder.write("shards/photos-2.json", b"{}")
    report = verify(store)
    assert [shard for shard, _ in report.problems] == ["photos-2", "photos-0"]
    assert "features/c/0/0/0" in report.problems[1][1]
    assert report.damaged == {"photos-0": record.attempt, "photos-2": None}
    assert report.shards == 2
    for shard, attempt in report.damaged.items():
        assert store.discard_damaged(shard, attempt)
        assert not store.discard_damaged(shard, attempt)
    assert verify(store).ok


def test_what_was_made_anew_since_is_not_discarded(disk: Folder) -> None:
    store = filled(disk)
    old = store.record("photos-0")
    assert old is not None
    rows = store.read("photos-0")
    store.folder.remove(f"{old.folder}/features/c/0/0/0")
    store.folder.write("shards/photos-2.json", b"{}")
    report = verify(store)
    for shard in report.damaged:
        store.discard(shard)
        store.commit(shard, old.shard_digest, rows)
    assert not any(store.discard_damaged(shard, attempt) for shard, attempt in report.damaged.items())
    assert len(store.shards()) == 3


def test_expected_shards_that_are_missing_are_reported(disk: Folder) -> None:
    report = verify(filled(disk), shards=["photos-0", "photos-7"])
    assert [shard for shard, _ in report.problems] == ["photos-7"]
    assert (report.shards, report.rows) == (1, 3)
    assert not report.damaged


def commit_by_hand(store: TargetStore, rows: TargetRows, digest: str | None = None) -> None:
    """A record that fits its objects, as a faulty writer could leave it."""
    record = store.commit("photos-8", SHARD_DIGEST, make_rows())
    objects = rows_to_objects(rows)
    for path, data in objects.items():
        store.folder.write(f"{record.folder}/{path}", data)
    listed = {path: ObjectDigest.of(data) for path, data in objects.items()}
    forged = type(record).model_validate(
        record.model_dump()
        | {"objects": listed, "rows": len(rows), "data_digest": digest or data_digest(listed)}
    )
    store.folder.write("shards/photos-8.json", forged.to_json())


def test_nan_in_the_cache_is_found(disk: Folder) -> None:
    store = TargetStore.create(disk, make_spec())
    rows = make_rows()
    features = rows.features.arrays["features"].copy()
    features[1, 2, 3] = np.nan
    bad = TargetRows(
        rows.keys, rows.crops, rows.boxes, rows.views, EncodedFeatures("float16", {"features": features})
    )
    commit_by_hand(store, bad)
    report = verify(store)
    assert len(report.problems) == 1
    assert repr(rows.keys[1]) in report.problems[0][1]


def test_rows_other_than_those_digested_are_found(disk: Folder) -> None:
    store = TargetStore.create(disk, make_spec())
    commit_by_hand(store, make_rows(seed=1), digest="0" * 64)
    assert "digest" in verify(store).problems[0][1]


def test_progress_is_told(disk: Folder) -> None:
    told: list[tuple[int, int]] = []
    verify(filled(disk), on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_progress_is_told_within_a_shard(disk: Folder) -> None:
    """In objects of all shards, so that the time left can be told from it."""
    store, heard = filled(disk), list[Progress]()
    with heard_by(heard.append):
        verify(store)
    objects = [len(record.objects) for record in store.records().values()]
    assert min(objects) > 1
    assert [(each.done, each.total) for each in heard] == [(i + 1, sum(objects)) for i in range(sum(objects))]
    assert [heard[0].head, heard[-1].head] == ["shard 1 of 3", "shard 3 of 3"]
