from pathlib import Path

import numpy as np
import pytest

from phreg.errors import ConfigError, DataError
from tests.evaluate.datasets.trees import HEIGHT, WIDTH, opened, write_image, write_mask, write_text

KEYS = ("2007_000033", "2007_000042")
STORED = [0, 1, 15, 20, 255]


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """The official archive unpacked: more images than masks, a mask of the training split too."""
    base = tmp_path / "VOCdevkit/VOC2012"
    for key in (*KEYS, "2007_000027"):
        write_image(base / f"JPEGImages/{key}.jpg")
        write_mask(base / f"SegmentationClass/{key}.png", STORED, palette=True)
    write_image(base / "JPEGImages/2007_000001.jpg")
    write_text(base / "ImageSets/Segmentation/val.txt", *reversed(KEYS))
    write_text(base / "ImageSets/Segmentation/train.txt", "2007_000027")
    return tmp_path


@pytest.mark.parametrize("root", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc21_has_palette_indices_as_they_are(devkit: Path, root: str) -> None:
    found = opened("voc21", devkit / root)
    assert [item.key for item in found] == list(reversed(KEYS))  # the order of the split file
    item = found[0]
    assert item.image.shape == (HEIGHT, WIDTH, 3)
    assert item.labels is not None
    assert item.labels.dtype == np.uint8
    assert item.labels.ravel()[:5].tolist() == [0, 1, 15, 20, 255]
    assert (found.name, found.background, len(found.classes)) == ("voc21", 0, 21)
    assert [found.classes[i][0] for i in (0, 1, 15, 20)] == ["background", "aeroplane", "person", "tvmonitor"]


def test_voc20_ignores_the_background_and_shifts_the_rest(devkit: Path) -> None:
    found = opened("voc20", devkit)
    labels = found[1].labels
    assert labels is not None
    assert labels.ravel()[:5].tolist() == [255, 0, 14, 19, 255]
    assert (found.background, len(found.classes)) == (None, 20)
    assert [found.classes[i][0] for i in (0, 14, 19)] == ["aeroplane", "person", "tvmonitor"]


def test_split_and_number_of_images(devkit: Path) -> None:
    assert [item.key for item in opened("voc21", devkit, split="train")] == ["2007_000027"]
    assert [item.key for item in opened("voc21", devkit, images=1)] == [KEYS[1]]
    with pytest.raises(ConfigError, match=r"tset\.txt; splits there: train, val"):
        opened("voc21", devkit, split="tset")


@pytest.mark.parametrize("folder", ["JPEGImages", "SegmentationClass"])
def test_files_of_the_split_that_are_missing(devkit: Path, folder: str) -> None:
    path = next((devkit / "VOCdevkit/VOC2012" / folder).glob(f"{KEYS[0]}.*"))
    path.unlink()
    with pytest.raises(DataError, match=rf"1 of the set's files are missing in .*{folder}[\s\S]*{KEYS[0]}"):
        opened("voc21", devkit)


def test_a_value_that_is_no_class_names_file_and_value(devkit: Path) -> None:
    path = devkit / f"VOCdevkit/VOC2012/SegmentationClass/{KEYS[0]}.png"
    write_mask(path, [3, 21, 77], palette=True)
    found = opened("voc21", devkit)
    with pytest.raises(DataError, match=rf"{KEYS[0]}\.png[\s\S]*0 to 20[\s\S]*found: 21, 77"):
        found[1]
    assert found[0].key == KEYS[1]  # the others are not lost


@pytest.mark.parametrize("key", ["../../secret", "/etc/passwd", "a\\..\\b", ".."])
def test_keys_do_not_leave_the_folder(devkit: Path, key: str) -> None:
    write_text(devkit / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", KEYS[0], key)
    with pytest.raises(DataError, match=r"could leave its folder, in .*val\.txt"):
        opened("voc21", devkit)


def test_another_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"JPEGImages/KEY\.jpg") as caught:
        opened("voc21", tmp_path)
    assert str(tmp_path / "VOCdevkit/VOC2012/SegmentationClass") in caught.value.found


def test_an_empty_split_file(devkit: Path) -> None:
    write_text(devkit / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "", " ")
    with pytest.raises(DataError, match=r"empty: .*val\.txt"):
        opened("voc21", devkit)
