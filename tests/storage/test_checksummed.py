"""Stored results that are not what was written."""

import logging
from pathlib import Path

import pytest
import safetensors.torch
import torch

from phreg.storage import Folder
from phreg.storage.checksummed import (
    read_checksummed_json,
    read_checksummed_tensors,
    to_checksummed_json,
    to_checksummed_tensors,
)


def test_what_has_no_checksum_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a", b"{}")
    folder.write("b", safetensors.torch.save({"features": torch.ones(2)}))
    with caplog.at_level(logging.INFO):
        assert read_checksummed_json(folder, "a") is None
        assert read_checksummed_tensors(folder, "b") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


def test_each_damaged_one_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a", to_checksummed_json({"x": 1}).replace(b"1", b"2", 1))
    folder.write("b", to_checksummed_tensors({"x": torch.ones(2)})[:-1])
    with caplog.at_level(logging.INFO):
        assert read_checksummed_json(folder, "a") is None
        assert read_checksummed_tensors(folder, "b") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
