from pathlib import Path

import pytest

from phreg.cache import TargetStore, open_cache
from phreg.errors import CacheError, MissingTargetsError, ObjectNotFoundError, SpecMismatchError
from phreg.storage import Folder
from phreg.types import Quarantined
from tests.cache.examples import SHARD_DIGEST, make_rows, make_spec


def test_a_cache_that_is_not_there_is_empty(tmp_path: Path, cache: Folder) -> None:
    for empty in (open_cache(str(tmp_path / "none")), open_cache(cache.url)):
        assert empty.specs() == {}
        assert empty.summaries() == []
        with pytest.raises(MissingTargetsError, match="no cache there"):
            empty.store("abc")


def test_specs_and_stores(cache: Folder) -> None:
    specs = [make_spec(), make_spec("int8"), make_spec(seed=1)]
    for spec in specs:
        TargetStore.create(cache, spec)
    cache.write("notes/readme.txt", b"")
    opened = open_cache(cache.url)
    assert opened.specs() == {spec.digest: spec for spec in specs}
    for spec in specs:
        assert opened.store(spec.digest).spec == spec
        assert opened.store(spec.digest[:12]).spec == spec
    with pytest.raises(CacheError, match="several"):
        opened.store("")
    with pytest.raises(MissingTargetsError, match=specs[0].digest[:12]):
        opened.store("xyz")


def test_summaries_read_no_data(disk: Folder) -> None:
    store = TargetStore.create(disk, make_spec())
    records = [
        store.commit(f"photos-{i}", SHARD_DIGEST, make_rows(i), [Quarantined("a", "bad")]) for i in range(3)
    ]
    disk.remove_all(f"{store.digest}/data")
    (summary,) = open_cache(disk.url).summaries()
    assert (summary.digest, summary.spec, summary.problem) == (store.digest, store.spec, "")
    assert (summary.shards, summary.rows, summary.quarantined) == (3, 3, 3)
    assert summary.bytes == sum(record.bytes for record in records)


def test_a_damaged_spec_hides_no_other(disk: Folder) -> None:
    bad = TargetStore.create(disk, make_spec())
    good = TargetStore.create(disk, make_spec("int8"))
    record = TargetStore.create(disk, make_spec("float32"))
    record.folder.write("shards/photos-0.json", b"")
    bad.folder.write("spec.json", b"{}")
    problems = {summary.digest: summary.problem for summary in open_cache(disk.url).summaries()}
    assert "spec.json" in problems[bad.digest]
    assert "photos-0.json" in problems[record.digest]
    assert problems[good.digest] == ""
    assert open_cache(disk.url).store(good.digest).spec == good.spec
    with pytest.raises(SpecMismatchError):
        open_cache(disk.url).specs()


def test_a_missing_bucket_is_named(s3_server: str) -> None:
    with pytest.raises(ObjectNotFoundError, match="no-such-bucket-here"):
        open_cache("s3://no-such-bucket-here/cache").specs()


def test_storage_options_reach_the_store_and_no_message(s3_folder: Folder, s3_server: str) -> None:
    TargetStore.create(s3_folder, make_spec())
    opened = open_cache(s3_folder.url, key="test", secret="CANARY-SECRET", endpoint_url=s3_server)
    assert list(opened.specs()) == [make_spec().digest]
    assert "CANARY" not in repr(opened)
    assert "CANARY" not in repr(opened.store(make_spec().digest))
