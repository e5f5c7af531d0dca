import io
import logging
from pathlib import Path

import pytest
import torch

from phreg.distill.checkpoint import (
    Checkpoint,
    checkpoint_steps,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from phreg.errors import TrainingError
from phreg.fingerprint import digest_bytes
from phreg.storage import Folder


def make(step: int) -> Checkpoint:
    parameter = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.AdamW([parameter], lr=0.1)
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return Checkpoint(step, {"w": parameter.detach()}, optimizer.state_dict(), '{"step": 1}\n', 1.5)


@pytest.fixture(params=["file", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(str(tmp_path)) if request.param == "file" else request.getfixturevalue("s3_folder")


def test_what_is_written_is_read(folder: Folder) -> None:
    written = make(7)
    write_checkpoint(folder, written)
    read = read_checkpoint(folder, 7)
    assert torch.equal(read.weights["w"], written.weights["w"])
    assert torch.equal(read.optimizer["state"][0]["exp_avg"], written.optimizer["state"][0]["exp_avg"])
    assert (read.step, read.curve, read.seconds) == (7, written.curve, 1.5)


def test_the_last_two_are_kept(folder: Folder) -> None:
    for step in (5, 10, 999, 1000):
        write_checkpoint(folder, make(step))
    assert checkpoint_steps(folder) == [1000, 999]


def test_none_is_no_error(folder: Folder) -> None:
    assert latest_checkpoint(folder) is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Folder(str(tmp_path))
    for step in (1, 2):
        write_checkpoint(folder, make(step))
    path = tmp_path / "checkpoints" / "step-000000002.ckpt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    broken = {"flip": bytes(data), "cut": path.read_bytes()[:-1], "empty": b"", "foreign": b"\xff\n\x80" * 9}
    path.write_bytes(broken[damage])
    with caplog.at_level(logging.WARNING):
        found = latest_checkpoint(folder)
    assert found is not None
    assert found.step == 1
    assert str(path) in caplog.text
    with pytest.raises(TrainingError, match="damaged"):
        read_checkpoint(folder, 2)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """A checkpoint with a whole digest but a pickled object of another kind is refused by torch."""
    folder = Folder(str(tmp_path))
    write_checkpoint(folder, Checkpoint(1, {}, {"state": Path("x")}, "", 0.0))
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        read_checkpoint(folder, 1)


@pytest.mark.parametrize("body", [b"a format of the future", {"step": 2, "of": "the future"}])
def test_one_of_another_version_is_named_and_the_one_before_is_used(
    body: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Folder(str(tmp_path))
    write_checkpoint(folder, make(1))
    data = body if isinstance(body, bytes) else saved(body)
    header = f"phreg-checkpoint-1 {digest_bytes(data)}\n".encode()
    folder.write("checkpoints/step-000000002.ckpt", header + data)
    with caplog.at_level(logging.WARNING):
        found = latest_checkpoint(folder)
    assert found is not None
    assert found.step == 1
    assert "step-000000002.ckpt cannot be read" in caplog.text


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
