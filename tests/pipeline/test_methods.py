"""Measuring a method on labelled sets, as a worker does it: what is left out, stored, and measured again."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from phreg.config import RunConfig, parse_config
from phreg.pipeline import methods
from phreg.pipeline.methods import Method, baselines, measure
from phreg.pipeline.prepare import Prepared, prepare
from phreg.storage import Folder
from phreg.world.write import write_label_folder
from tests.helpers import save_tiny_open_clip
from tests.small_run import make_config


@dataclass(frozen=True)
class World:
    """Scenes to train and to test on, and a teacher that can be asked for their classes."""

    folder: Path
    config: RunConfig

    @property
    def prepared(self) -> Prepared:
        return prepare(self.config)

    @property
    def teacher(self) -> Method:
        return baselines(self.config)[0]

    def image(self, part: str) -> Path:
        """The last one of a part."""
        return max((self.folder / "scenes" / part / "images").iterdir())

    def measured(self) -> dict[str, float]:
        return measure(self.config, self.prepared, self.teacher)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(methods, "on_cluster", lambda config, function, *args: function(*args))
    for part, scenes in (("train", range(3)), ("test", range(3, 5))):
        write_label_folder(Folder(str(tmp_path / "scenes" / part)), 0, scenes, 64)
    here = {"kind": "folder", "root": str(tmp_path / "scenes")}
    probe = {"train": here | {"split": "train"}, "test": here | {"split": "test"}, "probe": {"steps": 2}}
    labels = {
        "sets": [here | {"name": "scenes", "split": "test"}],
        "probes": [
            probe | {"name": "labels", "task": "segmentation"},
            probe | {"name": "depth", "task": "depth"},
        ],
    }
    teacher = {"model": save_tiny_open_clip(tmp_path / "clip"), "read_out": "naclip"}
    return World(tmp_path, parse_config(make_config(tmp_path, teacher=teacher, labels=labels)))


def test_every_column_says_how_many_images_it_left_out(world: World) -> None:
    world.image("train").write_bytes(b"no image")
    world.image("test").write_bytes(b"no image")
    found = world.measured()
    assert [found[f"{name} skipped"] for name in ("scenes", "labels", "depth")] == [1, 2, 2]


def test_what_left_images_out_is_measured_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "SAMPLED_IMAGES", 1)  # as of a large set: the broken image is not looked at
    image = world.image("test")
    whole = image.read_bytes()
    image.write_bytes(b"no image")
    assert world.measured()["scenes skipped"] == 1
    image.write_bytes(whole)
    mended = world.measured()
    assert not mended.get("scenes skipped")
    monkeypatch.setattr(methods, "measure_column", lambda *_: pytest.fail("measured again"))
    assert world.measured() == mended
