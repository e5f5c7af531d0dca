from pathlib import Path

from phreg.config.run import load_config
from phreg.config.table import load_table
from phreg.data import read_shard
from phreg.demo import make_demo, world
from phreg.pipeline.prepare import prepare


def test_demo_makes_configs_that_can_run_and_leaves_what_is_there(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(world, "SCENES_PER_SHARD", 2)
    monkeypatch.setattr(world, "LABELLED", 2)
    run, table = make_demo(tmp_path)
    prepared = prepare(load_config(run))
    assert set(prepared.targets) == {"denoised", "raw"}
    assert [column.name for column in prepared.columns] == ["scenes"]
    keys = [
        sample.key for url in (*prepared.train, *prepared.validation) for sample in read_shard(url).samples
    ]
    assert len(set(keys)) == len(keys) == 2 * (world.SHARDS + world.VALIDATION_SHARDS)
    labelled = {path.stem for path in (tmp_path / "world/labelled/images").iterdir()}
    assert len(labelled) == 2
    assert not labelled & set(keys)  # measured on scenes that no student saw
    assert load_table(table).run == load_config(run)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    run.write_text(run.read_text() + "# mine\n")
    make_demo(tmp_path)
    assert run.read_text().endswith("# mine\n")
    assert all(file.stat().st_mtime_ns == time for file, time in before.items() if file != run)
