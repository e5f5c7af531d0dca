"""Which device the work is done on: one rule for every command, `auto`, `cpu` or `cuda`.

`auto` is a GPU if the place where the work is done has one, else the CPU.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phreg.config.model import Device
from phreg.errors import ConfigError

_DRIVERS = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg")  # NVIDIA's, AMD's, and that of Windows for its Linux


@dataclass(frozen=True)
class Gpus:
    """The GPUs of a place: how many, and a sentence that says so.

    `remedy`: what to do if there are some that cannot be used. `may_come`: a node with one may still join.
    """

    count: float
    words: str
    remedy: str = ""
    may_come: bool = False


@dataclass(frozen=True)
class Choice:
    """`device` is `cpu` or `cuda`; `why` tells a user what decided."""

    device: str
    why: str

    def __str__(self) -> str:
        return f"{self.device} ({self.why})"


def choose(wanted: Device, look: Callable[[], Gpus]) -> Choice:
    """The rule. `look` is called unless a CPU is asked for. Raises `ConfigError` for `cuda` without a GPU."""
    if wanted == "cpu":
        return Choice("cpu", "as asked")
    there = look()
    if wanted == "auto":
        hint = "; with `device: cuda` one is waited for" if there.may_come and not there.count else ""
        return Choice("cuda" if there.count else "cpu", there.words + hint)
    if there.count:
        return Choice("cuda", f"as asked; {there.words}")
    if there.may_come:
        return Choice("cuda", f"as asked; {there.words}: one is waited for")
    raise ConfigError(
        "A GPU is asked for, and there is none",
        expected="a GPU, or `device: auto` or `cpu`",
        found=there.words,
        remedy=there.remedy or "ask for none (`device`, `gpus_per_actor`, `gpus_per_worker`), or add one",
    )


def device_here(wanted: Device = "auto") -> str:
    """`cpu` or `cuda`, for work in this process. Raises `ConfigError`."""
    return choose(wanted, gpus_here).device


def gpus_here() -> Gpus:
    """The GPUs that torch can use in this process."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Gpus(len(names), f"this machine has {', '.join(names)}")
    if not any(Path(driver).exists() for driver in _DRIVERS):
        return Gpus(0, "this machine has no GPU")
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1", "NoDevFiles"):
        return Gpus(0, "CUDA_VISIBLE_DEVICES hides this machine's GPUs")
    build = torch.version.cuda or torch.version.hip or "CPU only"
    return Gpus(
        0,
        f"torch (built for: {build}) cannot use this machine's GPU",
        "install the build of torch that fits the GPU's driver (`nvidia-smi` tells its version)",
    )
