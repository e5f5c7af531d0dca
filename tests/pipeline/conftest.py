"""A world of labelled scenes, and a teacher that can be asked for their classes."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from phreg.config.run import RunConfig, parse_config
from phreg.demo.world.write import write_label_folder
from phreg.pipeline import methods
from phreg.pipeline.methods import Method, baselines, measure
from phreg.pipeline.prepare import Prepared, prepare
from phreg.storage import Folder
from tests.helpers import save_tiny_open_clip
from tests.small_run import make_config


@dataclass(frozen=True)
class LabelledWorld:
    """Scenes to train and to test on, one set and two probes of them."""

    folder: Path
    config: RunConfig

    @property
    def prepared(self) -> Prepared:
        return prepare(self.config)

    @property
    def teacher(self) -> Method:
        return baselines(self.config)[0]

    def images(self, part: str) -> list[Path]:
        """Of "train" or "test", in their order."""
        return sorted((self.folder / "scenes" / part / "images").iterdir())

    def measured(self) -> dict[str, float]:
        return measure(self.config, self.prepared, self.teacher).scores


@pytest.fixture
def labelled_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledWorld:
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
    return LabelledWorld(tmp_path, parse_config(make_config(tmp_path, teacher=teacher, labels=labels)))
