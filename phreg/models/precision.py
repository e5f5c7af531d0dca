"""float32 stays float32: no product is rounded to TF32 or bfloat16 on the way, since digests promise values.

PyTorch's own switches are set (NVIDIA's containers turn TF32 on by a variable of the environment). Variables
that work below PyTorch, in the libraries that it calls, cannot be undone from here: they are refused.
"""

import os
import platform
from typing import Any

import torch

from phreg.errors import ConfigError

_CUDA = {"NVIDIA_TF32_OVERRIDE": ("0",)}
_CPU = dict.fromkeys(("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"), ("STRICT",))


def keep_float32(device: torch.device | str) -> None:
    """Make this process's float32 products exact, on `device` as elsewhere; to be called before computing.

    What runs in bfloat16 (autocast) is not touched. Raises `ConfigError` where the environment forbids it.
    """
    _check_environment(torch.device(device).type)
    backends: Any = torch.backends
    for products in (
        backends, backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn,
        backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn,
    ):  # fmt: skip
        products.fp32_precision = "ieee"
    # The older switches say the same twice, and PyTorch refuses to tell either where the two differ.
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False


def _check_environment(device: str) -> None:
    harmless = _CUDA if device == "cuda" else _CPU
    for name, values in harmless.items():
        value = os.environ.get(name, values[0])
        if value.upper() not in values:
            raise ConfigError(
                f"The environment makes float32 products inexact on {platform.node()}",
                expected=f"{name} not set, or {values[0]}",
                found=f"{name}={value}",
                remedy="unset it for the driver and on every node; for speed, set precision: bfloat16",
            )
