"""Caches on every backend."""

import uuid
from pathlib import Path

import pytest

from phreg.storage import Folder


@pytest.fixture(params=["file", "memory", "s3"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """An empty cache folder on each backend."""
    if request.param == "s3":
        folder: Folder = request.getfixturevalue("s3_folder")
        return folder
    if request.param == "memory":
        return Folder(f"memory://{uuid.uuid4().hex}/cache")
    return Folder(str(tmp_path / "cache"))


@pytest.fixture
def disk(tmp_path: Path) -> Folder:
    """An empty cache folder on the local disk."""
    return Folder(str(tmp_path / "cache"))
