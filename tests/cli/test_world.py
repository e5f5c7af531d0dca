from pathlib import Path

import pytest

from phreg.cli import main
from phreg.config.labels import LabelledSetConfig
from phreg.data import read_shard
from phreg.evaluate.datasets import open_set


def test_world_writes_shards_and_other_scenes_with_labels(tmp_path: Path, capsys) -> None:
    command = ["world", str(tmp_path), "--train", "5", "--per-shard", "2", "--labelled", "3", "--size", "32"]
    assert main(command) == 0
    assert "5 scenes in 3 shards and 3 with labels" in capsys.readouterr().out
    shards = sorted(tmp_path.glob("*.tar"))
    keys = [sample.key for shard in shards for sample in read_shard(str(shard)).samples]
    labelled = open_set(LabelledSetConfig(kind="folder", root=str(tmp_path / "labelled")))
    assert len(keys) == 5
    assert len(labelled) == 3
    assert not set(keys) & {item.key for item in labelled}
    assert {item.image.shape for item in labelled} == {(32, 32, 3)}


def test_world_of_nothing_is_bad_usage(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["world", str(tmp_path), "--train", "0"])
    assert "1 to 10,000,000" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_folder_holds_one_world(tmp_path: Path, capsys) -> None:
    command = ["world", str(tmp_path / "w"), "--train", "2", "--labelled", "1", "--size", "32"]
    assert main(command) == 0
    before = sorted(tmp_path.rglob("*"))
    assert main(command) == 0  # the same world: written again
    assert main([*command, "--seed", "4"]) == 2
    assert "another world" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/photo.png").write_bytes(b"x")
    assert main(["world", str(tmp_path / "mine")]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path for path in sorted(tmp_path.rglob("*")) if "mine" not in str(path)] == before
