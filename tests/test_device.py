"""The one rule of devices, and what torch says of this machine."""

from pathlib import Path

import pytest
import torch

from phreg import device
from phreg.device import Gpus, choose, device_here, gpus_here
from phreg.errors import ConfigError
from phreg.models import load_backbone
from tests.helpers import tiny_dinov2

NONE = Gpus(0, "this machine has no GPU")
EIGHT = Gpus(8, "the Ray cluster has 8 GPUs, on 1 of 2 nodes", may_come=True)
LATER = Gpus(0, "the Ray cluster has no GPU now", may_come=True)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device, "_DRIVERS", ())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("wanted", "there", "shown"),
    [
        ("auto", NONE, "cpu (this machine has no GPU)"),
        ("auto", EIGHT, "cuda (the Ray cluster has 8 GPUs, on 1 of 2 nodes)"),
        ("auto", LATER, "cpu (the Ray cluster has no GPU now; with `device: cuda` one is waited for)"),
        ("cpu", EIGHT, "cpu (as asked)"),
        ("cuda", EIGHT, "cuda (as asked; the Ray cluster has 8 GPUs, on 1 of 2 nodes)"),
        ("cuda", LATER, "cuda (as asked; the Ray cluster has no GPU now: one is waited for)"),
    ],
)
def test_the_rule(wanted: device.Device, there: Gpus, shown: str) -> None:
    assert str(choose(wanted, lambda: there)) == shown


def test_a_gpu_that_is_asked_for_and_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"there is none(?s:.)*this machine has no GPU(?s:.)*device"):
        choose("cuda", lambda: NONE)


def test_who_wants_a_cpu_looks_for_no_gpu() -> None:
    assert choose("cpu", pytest.fail).device == "cpu"


@pytest.mark.usefixtures("gpus")
def test_gpus_that_torch_can_use_are_named() -> None:
    assert gpus_here() == Gpus(2, "this machine has GPU 0, GPU 1")
    assert [device_here(wanted) for wanted in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]


@pytest.mark.usefixtures("no_gpu")
def test_a_machine_without_any() -> None:
    assert gpus_here() == NONE
    assert device_here() == "cpu"
    with pytest.raises(ConfigError, match="this machine has no GPU"):
        load_backbone(tiny_dinov2(32)).on("cuda:0")


@pytest.mark.usefixtures("no_gpu")
def test_gpus_that_torch_cannot_use_have_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_DRIVERS", (str(tmp_path),))
    with pytest.raises(ConfigError, match=r"cannot use this machine's GPU\n(?s:.)*build of torch that fits"):
        device_here("cuda")
    assert device_here() == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_here().words.startswith("CUDA_VISIBLE_DEVICES hides")
