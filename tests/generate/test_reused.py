"""Shards that are there already, told by records and stores alone."""

from pathlib import Path

from phreg.generate import reused_shards
from phreg.storage import Folder
from tests.generate.worlds import make_world
from tests.helpers import write_shard


def test_a_committed_shard_is_known_until_it_changes(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    one, two, new = (str(write_shard(tmp_path / f"{name}.tar", 2)) for name in ("one", "two", "new"))
    for url in (one, two):
        world.generator().generate(url)
    found = reused_shards(world.store, [one, two, new])
    assert set(found) == {one, two}
    assert all(report.reused and report.forward_passes == 0 for report in found.values())
    assert found[one].images == 2
    write_shard(Path(one), 3, seed=5)
    assert set(reused_shards(world.store, [one, two, new])) == {two}


def test_a_damaged_record_is_looked_at_closer(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    url = str(write_shard(tmp_path / "a.tar", 2))
    world.generator().generate(url)
    Folder(f"{world.cache.url}/{world.spec.digest}").write("shards/a.json", b"{}")
    assert reused_shards(world.store, [url]) == {}
