from pathlib import Path

import pytest
from PIL import Image

from phreg.config.run import load_config
from phreg.config.table import load_table
from phreg.data import read_shard
from phreg.demo import inputs, make_demo
from phreg.errors import ConfigError
from phreg.models import load_backbone
from phreg.models.hub import hub_files
from phreg.pipeline.prepare import prepare
from phreg.storage import Folder
from tests.helpers import tiny_dinov2


def test_demo_makes_configs_that_can_run_and_leaves_what_is_there(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(inputs, "SCENES_PER_SHARD", 2)
    monkeypatch.setattr(inputs, "LABELLED", 2)
    run, table = make_demo(tmp_path)
    prepared = prepare(load_config(run))
    assert set(prepared.targets) == {"denoised", "raw"}
    assert [column.name for column in prepared.columns] == ["scenes"]
    keys = [
        sample.key for url in (*prepared.train, *prepared.validation) for sample in read_shard(url).samples
    ]
    assert len(set(keys)) == len(keys) == 2 * (inputs.SHARDS + inputs.VALIDATION_SHARDS)
    labelled = {path.stem for path in (tmp_path / "world/labelled/images").iterdir()}
    assert len(labelled) == 2
    assert not labelled & set(keys)  # measured on scenes that no student saw
    assert load_table(table).run == load_config(run)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    run.write_text(run.read_text() + "# mine\n")
    make_demo(tmp_path)
    assert run.read_text().endswith("# mine\n")
    assert all(file.stat().st_mtime_ns == time for file, time in before.items() if file != run)


def test_a_vit_and_photos_of_ones_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(inputs, "SCENES_PER_SHARD", 2)
    for name, data in hub_files(load_backbone(tiny_dinov2(32))).items():
        Folder(str(tmp_path / "vit")).write(name, data)
    _photos(tmp_path / "photos", 5)
    run, table = make_demo(tmp_path / "demo", str(tmp_path / "vit"), str(tmp_path / "photos"))
    prepared = prepare(load_config(run))
    assert (len(prepared.train), len(prepared.validation), table) == (2, 1, None)
    assert not prepared.columns
    assert load_config(run).teacher.model == f"local-dir:{tmp_path}/vit"
    make_demo(tmp_path / "demo", str(tmp_path / "vit"), str(tmp_path / "photos"))
    with pytest.raises(ConfigError, match="another teacher"):
        make_demo(tmp_path / "demo", photos=str(tmp_path / "photos"))


def test_photos_do_not_take_the_place_of_a_demo_of_scenes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(inputs, "SCENES_PER_SHARD", 2)
    monkeypatch.setattr(inputs, "LABELLED", 2)
    make_demo(tmp_path / "demo")
    _photos(tmp_path / "photos", 5)
    with pytest.raises(ConfigError, match="of other images"):
        make_demo(tmp_path / "demo", photos=str(tmp_path / "photos"))


@pytest.mark.parametrize(("weights", "photos"), [("nowhere", None), (None, "three")])
def test_what_the_demo_cannot_use(
    tmp_path: Path, monkeypatch, weights: str | None, photos: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    _photos(Path("three"), 3)
    with pytest.raises(ConfigError, match="holds no ViT" if weights else "too few images"):
        make_demo(tmp_path / "demo", weights, photos)
    assert not (tmp_path / "demo/demo.yaml").exists()


def _photos(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(folder / f"{number}.png")
