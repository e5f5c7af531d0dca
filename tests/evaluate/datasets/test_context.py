from pathlib import Path

import numpy as np
import pytest

from phreg.errors import ConfigError, DataError
from phreg.evaluate.datasets.context import _PUBLISHED
from tests.evaluate.datasets.trees import opened, write_image, write_mask, write_mat, write_text

KEY = "2008_000002"


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    base = tmp_path / "VOCdevkit/VOC2010"
    write_image(base / f"JPEGImages/{KEY}.jpg")
    write_mask(base / f"SegmentationClassContext/{KEY}.png", [0, 1, 59])
    write_text(base / "ImageSets/SegmentationContext/val.txt", KEY)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "labels", "classes"), [("context60", [0, 1, 59], 60), ("context59", [255, 0, 58], 59)]
)
def test_converted_masks(converted: Path, kind: str, labels: list[int], classes: int) -> None:
    found = opened(kind, converted)  # type: ignore[arg-type]
    item = found[0]
    assert item.labels is not None
    assert item.labels.ravel()[:3].tolist() == labels
    assert len(found.classes) == classes
    assert found.background == (0 if classes == 60 else None)
    assert found.classes[-1][0] == "wood"


def published(root: Path, values: np.ndarray, **options: bool) -> Path:
    base = root / "VOCdevkit/VOC2010"
    write_image(base / f"JPEGImages/{KEY}.jpg", width=values.shape[1], height=values.shape[0])
    write_mat(root / f"trainval/{KEY}.mat", values, **options)
    write_text(base / "ImageSets/Main/val.txt", KEY)
    return root


# aeroplane, wood, accordion (the first, not of the 59), 0, 255 and 459 (not of the 59), person
LABELS = np.array([[2, 458, 1], [0, 255, 284], [459, 2, 2], [9, 9, 9], [2, 458, 1]])


@pytest.mark.parametrize("compress", [True, False])
def test_published_masks_have_the_converted_ones_classes(tmp_path: Path, compress: bool) -> None:
    root = published(tmp_path, LABELS, compress=compress)
    with_background = opened("context60", root)[0].labels
    without = opened("context59", root)
    assert with_background is not None
    expected = [[1, 59, 0], [0, 0, 37], [0, 1, 1], [2, 2, 2], [1, 59, 0]]
    assert with_background.tolist() == expected
    labels = without[0].labels
    assert labels is not None
    assert (labels == np.where(np.array(expected) == 0, 255, np.array(expected) - 1)).all()
    assert without.classes[36][0] == "person"


def test_published_labels_are_in_class_order() -> None:
    """Both are alphabetical: 59 labels, ascending, first and last known."""
    assert len(_PUBLISHED) == 59
    assert list(_PUBLISHED) == sorted(_PUBLISHED)
    assert (_PUBLISHED[0], _PUBLISHED[36], _PUBLISHED[-1]) == (2, 284, 458)


def test_masks_in_the_devkit_itself(tmp_path: Path) -> None:
    root = published(tmp_path, LABELS)
    (root / "trainval").rename(root / "VOCdevkit/VOC2010/trainval")
    assert opened("context60", root)[0].labels is not None


def test_no_masks_at_all(converted: Path) -> None:
    folder = converted / "VOCdevkit/VOC2010/SegmentationClassContext"
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ConfigError, match="SegmentationClassContext") as caught:
        opened("context60", converted)
    assert str(converted / "trainval") in caught.value.found


def test_a_published_mask_that_is_cut_short(tmp_path: Path) -> None:
    root = published(tmp_path, LABELS, compress=False)
    path = root / f"trainval/{KEY}.mat"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=rf"{KEY}\.mat[\s\S]*cut short"):
        opened("context60", root)[0]
