"""A run whose gate asks for scores on a labelled set: they are there before it decides."""

from pathlib import Path

import pytest
import yaml

from phreg.config.run import load_config
from phreg.demo.world.write import write_label_folder
from phreg.registry import Registry
from phreg.storage import Folder
from tests.flows.test_run import phreg_command
from tests.helpers import save_tiny_open_clip
from tests.small_run import write_config


@pytest.mark.slow
def test_the_gate_knows_the_scores_and_judges_again_once_a_set_is_there(tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    path = write_config(
        tmp_path,
        teacher={"model": save_tiny_open_clip(tmp_path / "clip"), "read_out": "naclip"},
        labels={"sets": [{"name": "scenes", "kind": "folder", "root": str(root)}]},
        gate={"rules": [{"metric": "scenes.miou", "not_worse_than": 100}]},
    )
    missing = phreg_command("run", str(path), home=tmp_path)
    assert missing.returncode == 0, missing.stderr[-3000:]
    assert "not promoted: scenes mIoU: the labelled set scenes is not there" in missing.stdout
    write_label_folder(Folder(str(root)), 0, range(3), 64)
    there = phreg_command("run", str(path), home=tmp_path)
    assert there.returncode == 0, there.stderr[-3000:]
    assert "one: promoted: scenes mIoU" in there.stdout
    assert "interval over 3 images" in there.stdout
    assert "teacher, read as value" in there.stdout

    other = tmp_path / "other.yaml"
    registry = load_config(path).registry_url
    changes = {"output": str(tmp_path / "other"), "registry": registry, "seed": 1}
    rules = [{"metric": "scenes.miou", "against": "champion", "margin": 100}]
    other.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes | {"gate": {"rules": rules}}))
    second = phreg_command("run", str(other), home=tmp_path)
    assert second.returncode == 0, second.stderr[-3000:]
    assert "not promoted: scenes mIoU" in second.stdout
    assert "the champion's" in second.stdout
    held = Registry(Folder(registry)).alias("tiny", "champion")
    assert held is not None
    assert held.version == 1
