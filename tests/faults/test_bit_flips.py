"""A bit flipped in a cache: found on read, named, and healed by making that shard anew, and it alone."""

import shutil
from pathlib import Path

import pytest

from phreg.cache import CommitRecord, TargetSpec, TargetStore
from phreg.cli import main
from phreg.errors import CacheError, CorruptTargetsError, SpecMismatchError
from phreg.storage import Folder
from tests.faults.caches import digests
from tests.faults.flips import all_flips, flip
from tests.faults.ledger import trial
from tests.faults.scene import SHARDS, Scene, make_scene

SHARD = "s-1"
INDEX = 3 * 16 + 4  # bytes at the end of a Zarr shard object: an offset and a length a chunk, and a CRC
DATA = {
    "a data chunk": ("features/c/0/0/0", None),
    "a chunk index": ("features/c/0/0/0", INDEX),
    "keys": ("keys/c/0/0", None),
    "boxes": ("boxes/c/0/0", None),
    "a group's metadata": ("zarr.json", None),
    "an array's metadata": ("features/zarr.json", None),
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def cache(scene: Scene, tmp_path: Path) -> Folder:
    shutil.copytree(scene.world.cache.local_path, tmp_path / "cache")
    return Folder(str(tmp_path / "cache"))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("what", [*DATA, "a commit record"])
def test_in_a_shard(
    scene: Scene, cache: Folder, what: str, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    store = TargetStore.open(cache, scene.world.spec.digest)
    record = store.record(SHARD)
    assert record is not None
    path, last = DATA.get(what, ("", None))
    path = f"{record.folder}/{path}" if path else f"shards/{SHARD}.json"
    with trial("flipped bit", what) as this:
        this.rerun = True
        flip(store.folder, path, seed, last)
        with pytest.raises(CorruptTargetsError, match=path):
            store.read(SHARD)
        assert main(["cache", "verify", cache.url]) == 1
        assert path in capsys.readouterr().out
        assert main(["cache", "verify", cache.url, "--heal"]) == 1
        reports = scene.generate(cache, scene.urls)
        assert [report.shard for report in reports if not report.reused] == [SHARD]
        this.repeated = SHARDS - sum(report.reused for report in reports)
        assert digests(cache) == scene.expected
        assert main(["cache", "verify", cache.url]) == 0


@pytest.mark.parametrize("seed", range(4))
def test_in_spec_json(
    scene: Scene,
    cache: Folder,
    seed: int,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = f"{scene.world.spec.digest}/spec.json"
    with trial("flipped bit", "spec.json") as this:
        this.rerun = True
        flip(cache, path, seed)
        with pytest.raises(SpecMismatchError, match=path):
            TargetStore.open(cache, scene.world.spec.digest)
        assert main(["cache", "verify", cache.url]) == 1
        assert path in capsys.readouterr().out
        assert all(report.reused for report in scene.generate(cache, scene.urls))
        assert path in caplog.text
        assert digests(cache) == scene.expected
        assert main(["cache", "verify", cache.url]) == 0


def test_a_damaged_record_is_removed_and_its_shard_made_anew(scene: Scene, cache: Folder) -> None:
    store = TargetStore.open(cache, scene.world.spec.digest)
    with trial("flipped bit", "a commit record, under a run") as this:
        flip(store.folder, f"shards/{SHARD}.json", 0)
        reports = scene.generate(cache, scene.urls)
        made = [report for report in reports if not report.reused]
        assert [report.shard for report in made] == [SHARD]
        assert f"shards/{SHARD}.json is damaged" in made[0].damage
        assert digests(cache) == scene.expected
        this.repeated = len(made)


def test_the_record_that_another_run_made_since_is_kept(
    scene: Scene, cache: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TargetStore.open(cache, scene.world.spec.digest)
    whole = store.folder.read(f"shards/{SHARD}.json")
    flip(store.folder, f"shards/{SHARD}.json", 0)
    discard = TargetStore.discard_damaged

    def other_run_first(self: TargetStore, name: str, attempt: str | None) -> bool:
        store.folder.write(f"shards/{SHARD}.json", whole)
        return discard(self, name, attempt)

    monkeypatch.setattr(TargetStore, "discard_damaged", other_run_first)
    assert all(report.reused for report in scene.generate(cache, scene.urls))
    assert store.folder.read(f"shards/{SHARD}.json") == whole


def test_every_bit_of_a_record_and_of_a_spec_counts(scene: Scene) -> None:
    """Each is found, or changes nothing: 1e-05 is 1E-05."""
    spec = scene.world.spec
    for data in all_flips(spec.to_json()):
        with pytest.raises(SpecMismatchError):
            TargetSpec.from_json(data, spec.digest, "url")
    record = scene.world.store.record(SHARD)
    assert record is not None
    for data in all_flips(record.to_json()):
        with pytest.raises(CacheError):
            CommitRecord.from_json(data, SHARD, "url")
