from pathlib import Path

import pytest

from phreg.errors import ConfigError, DataError
from tests.evaluate.datasets.trees import opened, write_image, write_mask

KEY = "ADE_val_00000001"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    base = tmp_path / "ADEChallengeData2016"
    write_image(base / f"images/validation/{KEY}.jpg")
    write_mask(base / f"annotations/validation/{KEY}.png", [0, 1, 13, 150])
    write_image(base / "images/training/ADE_train_00000001.jpg")
    write_mask(base / "annotations/training/ADE_train_00000001.png", 2)
    return tmp_path


@pytest.mark.parametrize("inside", [".", "ADEChallengeData2016"])
def test_zero_is_ignored_and_classes_start_at_one(root: Path, inside: str) -> None:
    found = opened("ade20k", root / inside)
    labels = found[0].labels
    assert labels is not None
    assert labels.ravel()[:4].tolist() == [255, 0, 12, 149]
    assert [found.classes[i][0] for i in (0, 12, 149)] == ["wall", "person", "flag"]
    assert (found[0].key, len(found.classes), found.background) == (KEY, 150, None)


def test_another_split(root: Path) -> None:
    labels = opened("ade20k", root, split="training")[0].labels
    assert labels is not None
    assert labels.max() == labels.min() == 1
    with pytest.raises(ConfigError, match="images/val"):
        opened("ade20k", root, split="val")


def test_values_past_the_last_class(root: Path) -> None:
    write_mask(root / f"ADEChallengeData2016/annotations/validation/{KEY}.png", [3, 151])
    with pytest.raises(DataError, match=rf"{KEY}\.png[\s\S]*1 to 150[\s\S]*found: 151"):
        opened("ade20k", root)[0]


def test_masks_without_images(root: Path) -> None:
    write_mask(root / "ADEChallengeData2016/annotations/validation/ADE_val_00000002.png", 1)
    with pytest.raises(DataError, match=r"missing in .*images/validation[\s\S]*ADE_val_00000002"):
        opened("ade20k", root)
