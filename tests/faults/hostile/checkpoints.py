"""Weights that must not be loaded: a CheckpointError, and no code of theirs is run."""

import functools
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from tests.faults.hostile.case import Case
from tests.faults.hostile.hubs import hub_directory
from tests.helpers import tiny_dinov2

CANARY = "canary-was-run"  # a file that hostile code would create in its working directory
Weights = dict[str, Tensor]


class Evil:
    """Pickled, it is a call."""

    def __init__(self, function: Any = os.system, argument: str = f"touch {CANARY}") -> None:
        self.call = (function, (argument,))

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return self.call


@functools.cache
def weights() -> Weights:
    return tiny_dinov2().state_dict()


def saved(state: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


def all_as(change: Callable[[Tensor], Tensor]) -> Weights:
    return {name: change(tensor) for name, tensor in weights().items()}


def header(content: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(start: int, end: int, dtype: str = "F32", size: int = 1) -> dict[str, object]:
    return {"dtype": dtype, "shape": [size], "data_offsets": [start, end]}


def zip_bomb() -> bytes:
    """A good PyTorch file whose tensors are compressed: 5 MB that unpack to 1 GB."""
    packed = io.BytesIO()
    whole = zipfile.ZipFile(io.BytesIO(saved(weights())))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in whole.namelist():
            with archive.open(name, "w", force_zip64=True) as file:
                if name.endswith("/data/0"):
                    for _ in range(1024):
                        file.write(bytes(1 << 20))
                else:
                    file.write(whole.read(name))
    return packed.getvalue()


def legacy_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(Evil())
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def within_itself() -> bytes:
    state: dict[str, Any] = {}
    state["model"] = state
    return saved(state)


def script() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def changed(name: str, tensor: Tensor) -> bytes:
    return safetensors.torch.save(weights() | {name: tensor})


def without(name: str) -> bytes:
    return safetensors.torch.save({key: value for key, value in weights().items() if key != name})


WIDE = 20_000**2 + 1  # positions of a grid of 20 000 x 20 000
NO_CODE = "Cannot read the checkpoint"
PLAIN = "no plain tensor"
_MADE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a pickle that calls": (lambda: pickle.dumps(Evil()), NO_CODE),
    "a pickle of weights that calls": (lambda: saved({"model": weights(), "x": Evil()}), NO_CODE),
    "a pickle in PyTorch's old format": (
        lambda: saved({"x": Evil()}, _use_new_zipfile_serialization=False), NO_CODE),
    "a pickle that evaluates": (lambda: pickle.dumps(Evil(eval, f"open({CANARY!r}, 'w')")), NO_CODE),
    "a pickle that executes": (lambda: pickle.dumps(Evil(exec, f"open({CANARY!r}, 'w')")), NO_CODE),
    "a pickled network": (lambda: saved(torch.nn.Linear(2, 2)), NO_CODE),
    "TorchScript": (script, NO_CODE),
    "PyTorch's legacy tar": (legacy_tar, NO_CODE),
    "an empty file": (lambda: b"", NO_CODE),
    "zeros": (lambda: bytes(10_000), NO_CODE),
    "half a file": (lambda: saved(weights())[:50_000], NO_CODE),
    "an HTML page": (lambda: b"<html>log in first</html>" * 50, NO_CODE),
    "a zip that unpacks to 1 GB": (zip_bomb, "a zip of .* bytes inside"),
    "a list": (lambda: saved([1, 2]), "no state dict"),
    "one tensor": (lambda: saved(torch.zeros(3)), "no state dict"),
    "a state dict within itself": (within_itself, "do not fit"),
    "values that are no tensors": (lambda: saved(dict.fromkeys(weights(), 1)), "do not fit"),
    "names that are no strings": (lambda: saved({1: torch.zeros(2), None: 3}), "do not fit"),
    "another shape": (lambda: changed("norm.weight", torch.zeros(33)), "norm.weight is"),
    "another width": (lambda: safetensors.torch.save(tiny_dinov2(embed_dim=48).state_dict()), "do not fit"),
    "a weight missing": (lambda: without("norm.weight"), "1 weights are missing"),
    "a weight too many": (lambda: changed("blocks.7.norm1.weight", torch.zeros(32)), "1 weights are unknown"),
    "patches of another size": (
        lambda: changed("patch_embed.proj.weight", torch.zeros(32, 3, 16, 16)), "patches of another size"),
    "positions in one row": (lambda: changed("pos_embed", torch.zeros(5)), "do not fit"),
    "positions of no width": (lambda: changed("pos_embed", torch.zeros(1, WIDE, 0)), "do not fit"),
    "400 million positions in one number": (
        lambda: saved(weights() | {"pos_embed": torch.zeros(1).expand(1, WIDE, 32)}),
        r"4 bytes repeated.*call [.]contiguous\(\)"),
    "a head of 2^31 rows of nothing": (lambda: changed("head.weight", torch.zeros(2**31, 0)), "do not fit"),
    "NaN": (lambda: changed("norm.weight", torch.full((32,), torch.nan)), "norm.weight .* not finite"),
    "Inf": (lambda: changed("norm.weight", torch.full((32,), torch.inf)), "norm.weight .* not finite"),
    "beyond float32": (
        lambda: safetensors.torch.save(all_as(lambda t: t.double() * 1e300)), "not finite"),
    "integers": (lambda: safetensors.torch.save(all_as(lambda t: t.to(torch.int8))), "floating-point"),
    "complex numbers": (lambda: saved(all_as(lambda t: t.to(torch.complex64))), "floating-point"),
    "float8": (lambda: safetensors.torch.save(all_as(lambda t: t.to(torch.float8_e4m3fn))), "floating-point"),
    "tensors without data": (lambda: saved(all_as(lambda t: t.to("meta"))), PLAIN),
    "sparse tensors": (lambda: saved(all_as(lambda t: t.to_sparse())), PLAIN),
    "safetensors: a header of 2^63 bytes": (lambda: header({}, length=2**63), "HeaderTooLarge|too large"),
    "safetensors: a header longer than the file": (lambda: header({}, length=5000), "safetensors file"),
    "safetensors: overlapping tensors": (
        lambda: header({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4)), "safetensors file"),
    "safetensors: data beyond the end": (lambda: header({"a": entry(0, 4000)}, bytes(4)), "safetensors file"),
    "safetensors: offsets backwards": (lambda: header({"a": entry(4, 0)}, bytes(4)), "safetensors file"),
    "safetensors: a shape that overflows": (
        lambda: header({"a": entry(0, 4, size=2**62)}, bytes(4)), "safetensors file"),
    "safetensors: numbers of an unknown type": (
        lambda: header({"a": entry(0, 1, "F4", 2)}, bytes(1)), "safetensors file"),
    "safetensors: a header that is no JSON": (
        lambda: struct.pack("<Q", 20) + b"{" + b"x" * 19, "safetensors file"),
}  # fmt: skip


def _make(data: Callable[[], bytes], folder: Path) -> tuple[str, str]:
    path = folder / "weights.pth"
    path.write_bytes(data())
    return hub_directory(folder / "model"), str(path)


CASES = tuple(
    Case("checkpoint", name, functools.partial(_make, data), "CheckpointError", says)
    for name, (data, says) in _MADE.items()
)
