from pathlib import Path

import pytest

from phreg.errors import ConfigError, DataError
from tests.evaluate.datasets.trees import HEIGHT, WIDTH, opened, write_image, write_mask

NAMES = ("frankfurt_000000_000294", "lindau_000000_000019")
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9,
    23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Both archives unpacked; gtFine has other files too."""
    for name in NAMES:
        city = name.split("_")[0]
        write_image(tmp_path / f"leftImg8bit/val/{city}/{name}_leftImg8bit.png", width=17, height=2)
        for kind in ("labelIds", "color", "instanceIds", "labelTrainIds"):
            write_mask(
                tmp_path / f"gtFine/val/{city}/{name}_gtFine_{kind}.png", [[*range(17)], [*range(17, 34)]]
            )
        (tmp_path / f"gtFine/val/{city}/{name}_gtFine_polygons.json").touch()
    return tmp_path


def test_label_ids_become_train_ids(root: Path) -> None:
    found = opened("cityscapes", root)
    assert [item.key for item in found] == list(NAMES)
    labels = found[1].labels
    assert labels is not None
    assert labels.ravel().tolist() == [TRAIN_IDS.get(value, 255) for value in range(34)]
    assert [found.classes[i][0] for i in (0, 6, 10, 13, 18)] == [
        "road",
        "traffic light",
        "sky",
        "car",
        "bicycle",
    ]
    assert (len(found.classes), found.background) == (19, None)


def test_an_id_that_is_none(root: Path) -> None:
    write_image(root / f"leftImg8bit/val/lindau/{NAMES[1]}_leftImg8bit.png")
    write_mask(root / f"gtFine/val/lindau/{NAMES[1]}_gtFine_labelIds.png", 34)
    with pytest.raises(DataError, match=rf"{NAMES[1]}_gtFine_labelIds\.png[\s\S]*found: 34"):
        opened("cityscapes", root)[1]


def test_a_city_without_masks(root: Path) -> None:
    (root / "gtFine/val/lindau").rename(root / "lindau")
    with pytest.raises(DataError, match=f"missing in .*gtFine[\\s\\S]*nothing for {NAMES[1]}"):
        opened("cityscapes", root)


def test_sizes_that_differ(root: Path) -> None:
    write_image(root / f"leftImg8bit/val/lindau/{NAMES[1]}_leftImg8bit.png")
    with pytest.raises(DataError, match=f"{WIDTH}x{HEIGHT}[\\s\\S]*17x2") as caught:
        opened("cityscapes", root)[1]
    assert "labelIds.png" in caught.value.problem
    assert "leftImg8bit.png" in caught.value.problem


@pytest.mark.parametrize("split", ["train", "Val"])
def test_a_split_that_is_not_there(root: Path, split: str) -> None:
    with pytest.raises(ConfigError, match=f"leftImg8bit/{split}"):
        opened("cityscapes", root, split=split)
