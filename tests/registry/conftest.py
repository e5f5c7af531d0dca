"""Registries, on a disk and in a bucket."""

from pathlib import Path

import pytest

from phreg.registry import Registry
from phreg.storage import Folder


@pytest.fixture(params=["file", "s3"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    if request.param == "s3":
        folder: Folder = request.getfixturevalue("s3_folder") / "registry"
        return Registry(folder)
    return Registry(Folder(str(tmp_path / "registry")))


@pytest.fixture
def local(tmp_path: Path) -> Registry:
    return Registry(Folder(str(tmp_path / "registry")))
