import pickle
from pathlib import Path
from typing import get_args

import pytest

from phreg.config.labels import SetKind
from phreg.errors import ConfigError
from phreg.evaluate.datasets.open import _READERS
from tests.evaluate.datasets.trees import opened, write_image, write_mask, write_text


def test_every_kind_has_a_reader() -> None:
    assert set(_READERS) == set(get_args(SetKind))


@pytest.mark.parametrize("kind", get_args(SetKind))
def test_every_kind_refuses_an_empty_folder_with_its_layout(tmp_path: Path, kind: SetKind) -> None:
    with pytest.raises(ConfigError, match="expected") as caught:
        opened(kind, tmp_path)
    assert str(tmp_path) in caught.value.found
    assert "SPLIT" in caught.value.expected


@pytest.mark.parametrize("kind", get_args(SetKind))
def test_a_root_that_is_not_there(tmp_path: Path, kind: SetKind) -> None:
    with pytest.raises(ConfigError, match="No such folder"):
        opened(kind, tmp_path / "nowhere")


@pytest.mark.parametrize("kind", get_args(SetKind))
@pytest.mark.parametrize("split", ["../other", "/etc", "a/../../b", "", "..", "a\\..\\b"])
def test_splits_do_not_leave_the_root(tmp_path: Path, kind: SetKind, split: str) -> None:
    with pytest.raises(ConfigError, match="`split` is no name"):
        opened(kind, tmp_path, split=split)


def test_ignore_is_for_folders(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`ignore` is for `folder`"):
        opened("ade20k", tmp_path, ignore=(0,))
    for value in (-1, 256):
        with pytest.raises(ConfigError, match="no label"):
            opened("folder", tmp_path, ignore=(value,))


def test_a_set_survives_a_trip_to_a_worker(tmp_path: Path) -> None:
    write_image(tmp_path / "images/a.jpg")
    write_mask(tmp_path / "labels/a.png", 1)
    write_text(tmp_path / "classes.txt", "x", "y")
    found = pickle.loads(pickle.dumps(opened("folder", tmp_path)))
    assert [item.key for item in found] == ["a"]
