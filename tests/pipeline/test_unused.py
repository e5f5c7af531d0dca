from pathlib import Path

import pytest
import yaml

from phreg.cache import Cache, TargetStore
from phreg.cli import main
from phreg.config.run import load_config
from phreg.config.table import load_table
from phreg.models import load_teacher
from phreg.pipeline.prepare import target_specs
from phreg.storage import Folder
from tests.cache.examples import make_spec
from tests.small_run import write_config


def made(config) -> set[str]:  # type: ignore[no-untyped-def]
    specs = target_specs(config, load_teacher(config.teacher)).values()
    return {TargetStore.create(Folder(config.cache_url), spec).digest for spec in specs}


def test_what_no_config_uses_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Used are those of a run on a CPU and on a GPU, and of all seeds of a table."""
    run, path = write_config(tmp_path), tmp_path / "auto.yaml"
    fields = yaml.safe_load(run.read_text())
    fields["teacher"]["precision"] = "auto"
    path.write_text(yaml.safe_dump(fields | {"seed": 3}))
    config = load_config(path)
    table = tmp_path / "table.yaml"
    table.write_text(f"name: t\nrun: {run}\nlabel_free: true\nseeds: [0, 1]\n")
    used = set.union(
        *(made(config.on(device)) for device in ("cpu", "cuda")),
        *(made(load_table(table).seeded(seed)) for seed in (0, 1)),
    )
    assert len(used) == 4
    cache = Cache(Folder(config.cache_url))
    unused = TargetStore.create(cache.folder, make_spec()).digest
    arguments = ["cache", "gc", cache.folder.url, "--unused-by", str(path), str(table), "--grace-hours", "0"]
    assert main([*arguments, "--dry-run"]) == 0
    assert f"would remove the targets {unused[:12]}: 0 shards" in capsys.readouterr().out
    assert main(["cache", "gc", cache.folder.url, "--unused-by", str(path), str(table)]) == 1
    assert "somebody seems to work on them" in capsys.readouterr().err
    assert set(cache.digests()) == used | {unused}
    assert main(arguments) == 0
    assert set(cache.digests()) == used
    assert main(arguments) == 0
    assert "all targets are used" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"), [({"cache": "elsewhere"}, "uses another cache"), ({"seed": 9}, "None of the targets")]
)
def test_a_config_that_cannot_be_the_right_one_removes_nothing(
    change: dict, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(write_config(tmp_path))
    there = made(config)
    path = write_config(tmp_path, **change)
    assert main(["cache", "gc", config.cache_url, "--unused-by", str(path)]) == 2
    assert said in capsys.readouterr().err
    assert set(Cache(Folder(config.cache_url)).digests()) == there


def test_a_spec_is_removed_by_its_first_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = TargetStore.create(Folder(str(tmp_path)), make_spec())
    assert main(["cache", "rm", str(tmp_path), "zz"]) == 2
    assert "has no targets with spec zz" in capsys.readouterr().err
    assert main(["cache", "rm", str(tmp_path), store.digest[:4]]) == 2
    assert "somebody seems to work on them" in capsys.readouterr().err
    assert main(["cache", "rm", str(tmp_path), store.digest[:4], "--grace-hours", "0"]) == 0
    assert f"removed the targets {store.digest[:12]}" in capsys.readouterr().out
    assert Cache(Folder(str(tmp_path))).digests() == []
