"""Files of weights that somebody else wrote, as plain tensors: safetensors, or PyTorch files without code."""

import io
import json
import re
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from phreg.errors import CheckpointError, ObjectNotFoundError
from phreg.models.checkpoint_parts import image_part, mappings
from phreg.storage import read_url

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
INDEX = ".index.json"
MAX_INDEX_BYTES = 1 << 24
_CONVERT = "torch.save(torch.load(IN, weights_only=False)[KEY], OUT), where KEY leads to the weights"


def read_state_dict(url: str, key: str | None = None) -> dict[str, Any]:
    """The weights of the one ViT or CLIP at an fsspec URL, or of the one that `key` names.

    The URL is that of a file, or of the index of a sharded checkpoint (`...index.json`), whose shards lie
    beside it. Raises `CheckpointError` for what is not plain tensors, or where it is not clear which are
    meant.
    """
    return image_part(read_checkpoint(url), url, key)


def read_checkpoint(url: str) -> dict[str, Any]:
    """All that is in a checkpoint at an fsspec URL, as it is nested there. Raises `CheckpointError`."""
    place, mark, query = url.partition("?")
    folder, slash, _ = place.rpartition("/")
    return _whole(read_url(url), url, lambda name: read_url(f"{folder}{slash}{name}{mark}{query}"))


def read_first(
    names: Iterable[str], read: Callable[[str], bytes], url_of: Callable[[str], str]
) -> dict[str, Any]:
    """The checkpoint in a folder, which has the first of these names that is there.

    `read` gives a file's bytes. Raises `ObjectNotFoundError` for the first name where there is none.
    """
    missing = None
    for name in names:
        try:
            data = read(name)
        except ObjectNotFoundError as error:
            missing = missing or error
        else:
            return _whole(data, url_of(name), read)
    raise missing or ValueError("no names")


def _whole(data: bytes, url: str, read: Callable[[str], bytes]) -> dict[str, Any]:
    """A checkpoint's file, or, if it is the index of a sharded one, the files that it names."""
    if not url.partition("?")[0].endswith(INDEX):
        return parse_state_dict(data, url)
    state: dict[str, Any] = {}
    for file in _shards(data, url):
        state |= parse_state_dict(read(file), f"{file}, of {url}")
    return state


def _shards(raw: bytes, source: str) -> list[str]:
    """The files that an index names, each once."""
    try:
        if len(raw) > MAX_INDEX_BYTES:
            raise ValueError(f"{len(raw)} bytes, more than {MAX_INDEX_BYTES}")
        names = list(dict.fromkeys(json.loads(raw)["weight_map"].values()))
        odd = [name for name in names if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name)]
        if odd or not names:
            raise ValueError(f"{odd[0]!r:.100} is no name of a file beside it" if odd else "no files")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"Cannot read the index of a sharded checkpoint {source}",
            expected="JSON with a weight_map from weights to the names of files beside it",
            found=f"{type(error).__name__}: {str(error)[:200]}",
        ) from None
    return names


def parse_state_dict(data: bytes, source: str) -> dict[str, Any]:
    """Tensors by name, nested as they are, and plain values beside them. Raises `CheckpointError`."""
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
    for _, mapping in mappings(state):
        for name, tensor in mapping.items():
            if isinstance(tensor, Tensor) and (oddity := _oddity(tensor)):
                raise CheckpointError(
                    f"{str(name)[:100]} in {source} is no plain tensor",
                    expected="dense values, each stored in full",
                    found=f"{oddity}; {tensor.dtype}, {tuple(tensor.shape)}",
                    remedy="call .contiguous() on it before saving" if "repeated" in oddity else "",
                )
    return dict(state)


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
        with torch.serialization.safe_globals([Namespace]):  # a training's arguments: attributes, no code
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        found, convert = _said(str(error)) or type(error).__name__, _CONVERT
        if "TorchScript" in found:
            convert = "torch.save(torch.jit.load(IN).state_dict(), OUT)"
        raise CheckpointError(
            f"Cannot read the checkpoint {source}",
            expected="safetensors, or a PyTorch file that holds only tensors and plain containers",
            found=found,
            remedy=f"phreg runs no code from checkpoints; convert it where you trust it: {convert}",
        ) from None


def _said(message: str) -> str:
    """What PyTorch says, without its advice to run code of the file, and its escape codes for bold type."""
    if found := re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", message):
        return f"an object of {found[1][:100]}, which is no tensor and no plain container"
    if "TorchScript" in message:
        return "a TorchScript archive, as OpenAI's own CLIP files are"
    if "Unsupported operand" in message:
        return "no file of PyTorch's"
    lines = re.sub(r"\x1b\[[0-9;]*m", "", message).strip().splitlines()
    return "".join(char for char in (lines or [""])[0][:200] if char.isprintable())


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
