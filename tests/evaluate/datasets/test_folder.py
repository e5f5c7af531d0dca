from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phreg.errors import ConfigError, DataError
from tests.evaluate.datasets.trees import opened, write_depth, write_image, write_mask, write_text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    base = tmp_path / "world"
    for name in ("b.jpg", "a.png", "c.JPEG", "d.webp"):
        write_image(base / "val/images" / name)
        write_mask(base / f"val/labels/{name[0]}.png", [0, 1, 2, 255])
        write_depth(base / f"val/depth/{name[0]}.png", 1500)
    write_text(base / "classes.txt", "grass, meadow", "sky", " red ball ,ball")
    (base / "val/images/.DS_Store").touch()
    (base / "val/images/._a.jpg").touch()
    return base


def test_images_labels_and_depth(root: Path) -> None:
    found = opened("folder", root, split="val")
    assert [item.key for item in found] == ["a", "b", "c", "d"]
    assert (found.name, len(found), found.background) == ("world", 4, None)
    assert found.classes == (("grass", "meadow"), ("sky",), ("red ball", "ball"))
    item = found[2]
    assert item.labels is not None
    assert item.labels.ravel()[:4].tolist() == [0, 1, 2, 255]
    assert item.depth is not None
    assert np.unique(item.depth).tolist() == [1.5]


def test_the_root_itself_and_its_own_class_names(root: Path) -> None:
    write_text(root / "val/classes.txt", "background, nothing", "x", "y")
    for found in (opened("folder", root / "val"), opened("folder", root, split="val")):
        assert found.classes[0] == ("background", "nothing")
        assert found.background == 0


def test_depth_or_labels_alone(root: Path) -> None:
    (root / "val/depth").rename(root / "val/aside")
    item = opened("folder", root, split="val")[0]
    assert item.labels is not None
    assert item.depth is None
    (root / "val/labels").rename(root / "val/more")
    with pytest.raises(ConfigError, match="official layout") as caught:
        opened("folder", root, split="val")
    assert str(root / "val/labels") in caught.value.found
    (root / "val/aside").rename(root / "val/depth")
    found = opened("folder", root, split="val")
    assert found.classes == ()
    assert found[0].labels is None
    assert found[0].depth is not None


def test_values_past_the_last_class_unless_ignored(root: Path) -> None:
    write_mask(root / "val/labels/b.png", [2, 3, 9])
    with pytest.raises(DataError, match=r"b\.png[\s\S]*0 to 2[\s\S]*found: 3, 9"):
        opened("folder", root, split="val")[1]
    labels = opened("folder", root, split="val", ignore=(3, 9))[1].labels
    assert labels is not None
    assert labels.ravel()[:3].tolist() == [2, 255, 255]


def test_a_class_may_be_ignored(root: Path) -> None:
    labels = opened("folder", root, split="val", ignore=(0,))[0].labels
    assert labels is not None
    assert labels.ravel()[:4].tolist() == [255, 1, 2, 255]


@pytest.mark.parametrize("folder", ["images", "labels", "depth"])
def test_a_file_that_is_missing(root: Path, folder: str) -> None:
    next((root / "val" / folder).glob("b.*")).unlink()
    with pytest.raises(
        DataError, match=rf"1 of the set's files are missing in .*{folder}[\s\S]*nothing for b"
    ):
        opened("folder", root, split="val")


def test_two_images_of_one_name(root: Path) -> None:
    write_image(root / "val/images/a.jpg")
    with pytest.raises(DataError, match="Two files of one name"):
        opened("folder", root, split="val")


def test_a_split_is_asked_for_where_there_are_some(root: Path) -> None:
    with pytest.raises(ConfigError, match="splits there: val"):
        opened("folder", root)


def test_no_class_names(root: Path) -> None:
    (root / "classes.txt").unlink()
    with pytest.raises(ConfigError, match=r"classes\.txt"):
        opened("folder", root, split="val")


def test_length_needs_no_image(root: Path) -> None:
    """A broken image is an error when it is its turn."""
    (root / "val/images/b.jpg").write_bytes(b"no image")
    found = opened("folder", root, split="val")
    assert len(found) == 4
    assert found[0].key == "a"
    with pytest.raises(DataError, match=r"b\.jpg"):
        found[1]


@pytest.mark.shared
def test_camvid(shared_folder: Path) -> None:
    root = shared_folder / "data/camvid"
    train = opened("folder", root, split="train", ignore=(11,))
    test = opened("folder", root, split="test", ignore=(11,))
    assert (len(train), len(test)) == (92, 47)
    assert [names[0] for names in train.classes][:5] == ["sky", "building", "pole", "road", "pavement"]
    assert len(train.classes) == 11
    for split, item in (("train", train[0]), ("train", train[91]), ("test", test[46])):
        stored = np.asarray(Image.open(root / split / f"labels/{item.key}.png"))
        assert item.image.shape == (360, 480, 3)
        assert item.labels is not None
        assert (item.labels == np.where(stored == 11, 255, stored)).all()
    seen = np.unique(np.stack([item.labels for item in test if item.labels is not None]))
    assert seen.tolist() == [*range(11), 255]
    with pytest.raises(DataError, match="found: 11"):
        list(opened("folder", root, split="test"))


def test_a_background_that_does_not_count_is_no_class(tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path / f"images/{name}.jpg")
        write_mask(tmp_path / f"labels/{name}.png", [0, 1, 2, 7])
    write_text(tmp_path / "classes.txt", "background, sky", "cat", "dog")
    found = opened("folder", tmp_path, ignore=(0, 7))
    assert (found.classes, found.background) == ((("cat",), ("dog",)), None)
    labels = found[0].labels
    assert labels is not None
    assert labels.ravel()[:4].tolist() == [255, 0, 1, 255]
    write_text(tmp_path / "classes.txt", "sea", "cat", "dog")  # another first class keeps its index
    kept = opened("folder", tmp_path, ignore=(0, 7))
    assert len(kept.classes) == 3
    assert kept[0].labels is not None
    assert kept[0].labels.ravel()[:4].tolist() == [255, 1, 2, 255]
