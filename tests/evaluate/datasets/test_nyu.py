from pathlib import Path

import numpy as np
import pytest

from phreg.errors import ConfigError, DataError
from tests.evaluate.datasets.trees import opened, write_depth, write_image, write_text

MILLIMETRES = [0, 1, 1234, 9999, 65535]
METRES = [0, 0.001, 1.234, 9.999, 65.535]


def write_pair(base: Path, scene: str, number: str) -> None:
    write_image(base / scene / f"rgb_{number}.jpg")
    write_depth(base / scene / f"sync_depth_{number}.png", MILLIMETRES)


def line(scene: str, number: str, slash: str = "") -> str:
    return f"{slash}{scene}/rgb_{number}.jpg {slash}{scene}/sync_depth_{number}.png 518.8579"


def test_scene_folders_without_a_list(tmp_path: Path) -> None:
    """BTS's layout: every scene of the split."""
    for scene, number in (("kitchen", "00002"), ("bathroom", "00045"), ("bathroom", "00046")):
        write_pair(tmp_path / "test", scene, number)
    found = opened("nyu_depth", tmp_path)
    assert [item.key for item in found] == ["bathroom_00045", "bathroom_00046", "kitchen_00002"]
    item = found[0]
    assert item.labels is None
    assert item.depth is not None
    assert item.depth.dtype == np.float32
    assert item.depth.ravel()[:5].tolist() == pytest.approx(METRES)
    assert (found.classes, found.background) == ((), None)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("split", "name", "base"),
    [
        ("test", "nyudepthv2_test_files_with_gt.txt", "official_splits/test"),
        ("test", "nyu_test.txt", "."),
        ("train", "nyu_train.txt", "sync"),
    ],
)
def test_the_official_lists(tmp_path: Path, slash: str, split: str, name: str, base: str) -> None:
    for number in ("00045", "00050", "00060"):
        write_pair(tmp_path / base, "bathroom", number)
    lines = [
        line("bathroom", "00050", slash),
        "bathroom/rgb_00060.jpg None 518.8579",
        line("bathroom", "00045"),
    ]
    write_text(tmp_path / name, *lines)
    found = opened("nyu_depth", tmp_path, split=split)
    assert [item.key for item in found] == ["bathroom_00050", "bathroom_00045"]


def test_as_mmsegmentation_converts_it(tmp_path: Path) -> None:
    write_image(tmp_path / "images/test/bathroom_00045.jpg")
    write_depth(tmp_path / "annotations/test/bathroom_00045.png", MILLIMETRES)
    assert [item.key for item in opened("nyu_depth", tmp_path)] == ["bathroom_00045"]


@pytest.mark.parametrize("lines", [["../x/rgb_1.jpg a/b.png 1"], ["a/rgb_1.jpg //../b.png 1"]])
def test_lists_do_not_leave_the_folder(tmp_path: Path, lines: list[str]) -> None:
    write_text(tmp_path / "nyu_test.txt", *lines)
    with pytest.raises(DataError, match=r"could leave its folder, in .*nyu_test\.txt"):
        opened("nyu_depth", tmp_path)


def test_listed_files_that_are_missing(tmp_path: Path) -> None:
    write_pair(tmp_path, "bathroom", "00045")
    write_text(tmp_path / "nyu_test.txt", line("bathroom", "00045"), line("bathroom", "00046"))
    with pytest.raises(DataError, match=r"2 files that .*nyu_test\.txt lists[\s\S]*bathroom/rgb_00046\.jpg"):
        opened("nyu_depth", tmp_path)
    write_text(tmp_path / "nyu_test.txt", "bathroom/rgb_00045.jpg")
    with pytest.raises(DataError, match="without a depth file"):
        opened("nyu_depth", tmp_path)


def test_a_scene_whose_depth_is_missing(tmp_path: Path) -> None:
    write_pair(tmp_path / "test", "bathroom", "00045")
    write_image(tmp_path / "test/bathroom/rgb_00046.jpg")
    with pytest.raises(DataError, match=r"missing in .*bathroom[\s\S]*00046"):
        opened("nyu_depth", tmp_path)


def test_depth_of_eight_bits_and_another_size(tmp_path: Path) -> None:
    write_pair(tmp_path / "test", "bathroom", "00045")
    path = tmp_path / "test/bathroom/sync_depth_00045.png"
    write_depth(path, np.ones((3, 3)))
    with pytest.raises(DataError, match=r"sync_depth_00045\.png and .*rgb_00045\.jpg differ in size"):
        opened("nyu_depth", tmp_path)[0]
    write_image(path)
    with pytest.raises(DataError, match=r"sync_depth_00045\.png[\s\S]*16-bit"):
        opened("nyu_depth", tmp_path)[0]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nyu_SPLIT\.txt[\s\S]*official_splits/test"):
        opened("nyu_depth", tmp_path)
