from pathlib import Path

import numpy as np
import pytest

from phreg.errors import ConfigError, DataError
from tests.evaluate.datasets.trees import opened, write_image, write_mask

ID = "000000000139"
# person, stop sign (id 13), toothbrush (id 90), banner (id 92), wood (id 182), nothing
STORED = [0, 12, 89, 91, 181, 255]
STUFF = [0, 11, 79, 80, 170, 255]
OBJECTS = [1, 12, 80, 0, 0, 0]


def tree(root: Path, images: str = "val2017", masks: str = "stuffthingmaps/val2017") -> Path:
    write_image(root / images / f"{ID}.jpg")
    write_mask(root / masks / f"{ID}.png", STORED)
    return root


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("val2017", "val2017"),
        ("val2017", "stuffthingmaps_trainval2017/val2017"),
        ("images/val2017", "stuffthingmaps/val2017"),
        ("images/val2017", "annotations/val2017"),
    ],
)
def test_published_pixel_maps_wherever_they_were_unpacked(tmp_path: Path, images: str, masks: str) -> None:
    root = tree(tmp_path, images, masks)
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations/instances_val2017.json").touch()
    for kind, expected in (("coco_stuff", STUFF), ("coco_object", OBJECTS)):
        found = opened(kind, root)  # type: ignore[arg-type]
        assert len(found) == 1
        assert found[0].key == ID
        labels = found[0].labels
        assert labels is not None
        assert labels.ravel()[:6].tolist() == expected


def test_all_171_values_and_no_other(tmp_path: Path) -> None:
    """The 11 ids that were never given are gaps of the stored values, and errors."""
    unused = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
    values = [value for value in range(182) if value not in unused]
    assert len(values) == 171
    path = tree(tmp_path) / f"stuffthingmaps/val2017/{ID}.png"
    write_image(tmp_path / f"val2017/{ID}.jpg", width=171, height=1)
    write_mask(path, np.array([values]))
    labels = opened("coco_stuff", tmp_path)[0].labels
    assert labels is not None
    assert labels.ravel().tolist() == list(range(171))
    for value in (*unused, 182, 254):
        write_mask(path, np.array([[*values[:170], value]]))
        with pytest.raises(DataError, match=rf"{ID}\.png[\s\S]*found: {value}\b"):
            opened("coco_stuff", tmp_path)[0]


def test_objects_are_the_things_of_stuff_after_the_background(tmp_path: Path) -> None:
    stuff, objects = opened("coco_stuff", tree(tmp_path)), opened("coco_object", tmp_path)
    assert objects.classes[1:] == stuff.classes[:80]
    assert (stuff.background, objects.background) == (None, 0)
    assert (len(stuff.classes), len(objects.classes)) == (171, 81)


def test_converted_maps_are_read_where_there_are_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "annotations/val2017"
    write_image(tmp_path / f"images/val2017/{ID}.jpg")
    write_mask(folder / f"{ID}_labelTrainIds.png", STUFF)
    write_mask(folder / f"{ID}_instanceTrainIds.png", 81)
    for kind, expected in (("coco_stuff", STUFF), ("coco_object", OBJECTS)):
        labels = opened(kind, tmp_path)[0].labels  # type: ignore[arg-type]
        assert labels is not None
        assert labels.ravel()[:6].tolist() == expected
    # A conversion writes beside the published maps: they win.
    write_mask(folder / f"{ID}.png", 89)
    labels = opened("coco_stuff", tmp_path)[0].labels
    assert labels is not None
    assert np.unique(labels).tolist() == [79]


def test_images_without_maps_and_maps_without_images(tmp_path: Path) -> None:
    write_image(tree(tmp_path) / "val2017/000000000285.jpg")
    with pytest.raises(DataError, match=r"missing in .*stuffthingmaps[\s\S]*nothing for 000000000285"):
        opened("coco_stuff", tmp_path)
    (tmp_path / "val2017/000000000285.jpg").unlink()
    (tmp_path / f"val2017/{ID}.jpg").rename(tmp_path / "val2017/000000000632.jpg")
    with pytest.raises(DataError):
        opened("coco_stuff", tmp_path)


@pytest.mark.parametrize("lacking", ["val2017", "stuffthingmaps"])
def test_no_images_or_no_maps(tmp_path: Path, lacking: str) -> None:
    (tree(tmp_path) / lacking).rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="official layout") as caught:
        opened("coco_stuff", tmp_path)
    assert str(tmp_path / lacking) in caught.value.found
