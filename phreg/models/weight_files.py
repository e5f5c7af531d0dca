"""Files of weights that somebody else wrote, as plain tensors: safetensors, or PyTorch files without code."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from phreg.errors import CheckpointError
from phreg.storage import read_url

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_WRAPPERS = ("model", "state_dict")
_WRAPPED_AT_MOST = 3


def read_state_dict(url: str) -> dict[str, Any]:
    """The state dict at an fsspec URL. Raises `CheckpointError` for what is not plain tensors."""
    return parse_state_dict(read_url(url), url)


def parse_state_dict(data: bytes, source: str) -> dict[str, Any]:
    """Tensors by name, and whatever plain values lie beside them. Raises `CheckpointError`."""
    if data[8:9] == b"{":  # safetensors: 8 bytes of header length, then JSON
        try:
            state: Any = safetensors.torch.load(data)
        except Exception as error:  # also KeyError, for a type of numbers that is not known
            said = f"{type(error).__name__}: {str(error)[:200]}"
            raise CheckpointError(f"Cannot read the safetensors file {source}", found=said) from None
    else:
        state = _parse_pytorch(data, source)
    if not isinstance(state, dict):
        raise CheckpointError(f"The checkpoint {source} is no state dict", "a dict", type(state).__name__)
    inner = innermost(state)
    for name, tensor in inner.items():
        if isinstance(tensor, Tensor) and (oddity := _oddity(tensor)):
            raise CheckpointError(
                f"{str(name)[:100]} in {source} is no plain tensor",
                expected="dense values, each stored in full",
                found=f"{oddity}; {tensor.dtype}, {tuple(tensor.shape)}",
                remedy="call .contiguous() on it before saving" if "repeated" in oddity else "",
            )
    return dict(inner)


def innermost(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights of a training checkpoint, which lie under `model` or `state_dict`."""
    for _ in range(_WRAPPED_AT_MOST):
        inner = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = inner
    return state


def check_values(state: Mapping[str, Tensor], source: str) -> None:
    """Raise `CheckpointError` unless these weights are finite numbers, also in float32."""
    for name, tensor in state.items():
        if tensor.dtype not in FLOATS:
            raise CheckpointError(
                f"{name} in {source} is not of floating-point numbers",
                expected=", ".join(str(dtype).removeprefix("torch.") for dtype in FLOATS),
                found=str(tensor.dtype).removeprefix("torch."),
            )
        if not torch.isfinite(tensor.float()).all():
            raise CheckpointError(
                f"{name} in {source} is not finite",
                expected="weights that are numbers within float32's range",
                found="NaN or Inf",
                remedy="fetch the weights again, or take those of an earlier step of their training",
            )


def _parse_pytorch(data: bytes, source: str) -> Any:
    try:
        _check_zip(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"Cannot read the checkpoint {source}",
            expected="safetensors, or a PyTorch file that holds only tensors and plain containers",
            found=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            remedy="convert it to safetensors where you trust it; phreg runs no code from checkpoints",
        ) from None


def _check_zip(data: bytes) -> None:
    """PyTorch stores without compressing; a zip that is larger inside would be unpacked in memory."""
    if data.startswith(b"PK"):
        inside = sum(item.file_size for item in zipfile.ZipFile(io.BytesIO(data)).infolist())
        if inside > len(data):
            raise ValueError(f"a zip of {len(data)} bytes with {inside} bytes inside")


def _oddity(tensor: Tensor) -> str:
    """How a tensor is other than plain; empty if it is not."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return "quantized values" if tensor.is_quantized else f"{tensor.layout} on {tensor.device}"
    stored, whole = tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size()
    return f"{stored} bytes repeated to {whole} (`expand`)" if whole > stored else ""
