"""How target features are stored: `EncodedFeatures`, and the four encodings.

Shapes: N rows, P patches, C channels. Decoding runs on the device that consumes, so that half or a
quarter of the bytes travel there.

| encoding | bytes a value | error |
| --- | --- | --- |
| `float32` | 4 | none |
| `float16` | 2 | half a unit in the 11th bit; values above 65504 are refused |
| `bfloat16` | 2 | half a unit in the 8th bit (round to nearest even) |
| `int8` | 1 | see `int8.py` |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from phreg.cache.int8 import decode_int8, encode_int8
from phreg.errors import CacheError, NonFiniteError

Array = npt.NDArray[Any]
Rows = int | slice | Sequence[int] | npt.NDArray[np.integer]

_TOKENS = ("row", "patch", "channel")
LAYOUTS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "float32": {"features": ("float32", _TOKENS)},
    "float16": {"features": ("float16", _TOKENS)},
    "bfloat16": {"features": ("uint16", _TOKENS)},  # its bit pattern: Zarr v3 and numpy have no such type
    "int8": {
        "features": ("int8", _TOKENS),
        "scales": ("float32", ("row", "patch")),
        "channel_mean": ("float32", ("channel",)),
        "channel_std": ("float32", ("channel",)),
    },
}
"""The arrays of each encoding: name -> (dtype, dimensions)."""

LARGEST: dict[str, float] = {"float32": 3.4e38, "float16": 65504.0, "bfloat16": 3.38e38, "int8": 5e37}
"""The largest magnitude that each encoding takes. int8: decoding passes through up to 5 times as much."""


@dataclass(frozen=True, eq=False)
class EncodedFeatures:
    """Features [N, P, C] in one of the encodings. `arrays` is what `LAYOUTS` says; treat it as frozen."""

    encoding: str
    arrays: dict[str, Array] = field(repr=False)

    def __post_init__(self) -> None:
        if problem := _layout_problem(self.encoding, self.arrays):
            raise CacheError(f"These arrays are no features encoded as {self.encoding}", found=problem)

    @classmethod
    def encode(cls, features: Float[Tensor, "N P C"] | Array, encoding: str) -> "EncodedFeatures":
        """Encode float32 features; equal input gives equal bytes.

        Raises `NonFiniteError` for NaN or Inf, and `CacheError` for values that the encoding cannot hold.
        """
        if isinstance(features, Tensor):
            features = features.detach().to("cpu", torch.float32).numpy()
        values = np.ascontiguousarray(features, np.float32)
        if values.ndim != 3 or encoding not in _ENCODE:
            raise CacheError(
                "These features cannot be encoded",
                expected=f"shape [N, P, C] and one of {', '.join(LAYOUTS)}",
                found=f"shape {list(values.shape)} and {encoding!r}",
            )
        _check_range(values, encoding)
        return cls(encoding, _ENCODE[encoding](values))

    def decode(self, device: torch.device | str | None = None) -> Float[Tensor, "N P C"]:
        """float32 features on `device`, where the arithmetic is done. A tensor of its own."""
        tensors = {name: _to_torch(array).to(device) for name, array in self.arrays.items()}
        return _DECODE[self.encoding](tensors)

    def __len__(self) -> int:
        return int(self.arrays["features"].shape[0])

    def __getitem__(self, rows: Rows) -> "EncodedFeatures":
        """Some of the rows, still encoded; one row keeps its axis: `features[3]` has shape [1, P, C]."""
        if isinstance(rows, int | np.integer):
            rows = [int(rows)]
        index = rows if isinstance(rows, slice) else np.asarray(rows, np.intp)
        dims = {name: layout[1] for name, layout in LAYOUTS[self.encoding].items()}
        return EncodedFeatures(
            self.encoding,
            {name: array[index] if dims[name][0] == "row" else array for name, array in self.arrays.items()},
        )

    def non_finite_rows(self) -> list[int]:
        """Rows of which some value decodes to NaN or Inf."""
        return [row for row in range(len(self)) if not torch.isfinite(self[row].decode()).all()]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, P, C)."""
        rows, patches, channels = self.arrays["features"].shape
        return int(rows), int(patches), int(channels)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


def encoded_bytes(encoding: str, rows: int, patches: int, channels: int) -> int:
    """Bytes that features [rows, patches, channels] take once encoded."""
    sizes = {"row": rows, "patch": patches, "channel": channels}
    return sum(
        np.dtype(dtype).itemsize * int(np.prod([sizes[dim] for dim in dims]))
        for dtype, dims in LAYOUTS[encoding].values()
    )


def _check_range(values: Float32[np.ndarray, "N P C"], encoding: str) -> None:
    largest = np.array([np.abs(row).max(initial=0.0) for row in values])  # NaN wins any maximum
    if bad := np.flatnonzero(~np.isfinite(largest)).tolist():
        raise NonFiniteError(
            f"Features of {len(bad)} of {len(values)} rows are NaN or Inf; nothing was written",
            expected="finite features",
            found=f"rows {_first(bad)}",
            remedy="quarantine these samples, or run the teacher in float32",
        )
    if bad := np.flatnonzero(largest > LARGEST[encoding]).tolist():
        raise CacheError(
            f"Features of {len(bad)} of {len(values)} rows do not fit into {encoding}; nothing was written",
            expected=f"magnitudes up to {LARGEST[encoding]:g}",
            found=f"up to {largest.max():g}, in rows {_first(bad)}",
            remedy="choose the encoding bfloat16 or float32 for these targets",
        )


def _first(rows: list[int]) -> str:
    return ", ".join(str(row) for row in rows[:10]) + (", ..." if len(rows) > 10 else "")


def _encode_bfloat16(values: Float32[np.ndarray, "N P C"]) -> Array:
    bits: Array = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    return bits


def _to_torch(array: Array) -> Tensor:
    if array.dtype == np.uint16:
        array = array.view(np.int16)  # the same bits, in a type that every torch device has
    return torch.from_numpy(array if array.flags.writeable else array.copy())


_ENCODE: dict[str, Callable[[Array], dict[str, Array]]] = {
    "float32": lambda values: {"features": values.copy()},
    "float16": lambda values: {"features": values.astype(np.float16)},
    "bfloat16": lambda values: {"features": _encode_bfloat16(values)},
    "int8": encode_int8,
}
_DECODE: dict[str, Callable[[dict[str, Tensor]], Tensor]] = {
    "float32": lambda tensors: tensors["features"].clone(),
    "float16": lambda tensors: tensors["features"].float(),
    "bfloat16": lambda tensors: tensors["features"].view(torch.bfloat16).float(),
    "int8": decode_int8,
}


def _layout_problem(encoding: str, arrays: dict[str, Array]) -> str:
    """What is wrong with these arrays; nothing if they fit."""
    layout = LAYOUTS.get(encoding, {})
    if not layout or layout.keys() != arrays.keys():
        return f"arrays {sorted(arrays)} instead of {sorted(layout)}"
    sizes: dict[str, int] = {}
    for name, (dtype, dims) in layout.items():
        array = arrays[name]
        if array.dtype != np.dtype(dtype) or array.ndim != len(dims):
            return f"{name} of type {array.dtype} with {array.ndim} axes instead of {dtype} with {len(dims)}"
        for dim, size in zip(dims, array.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                return f"{name} has {size} along {dim}, another array has {sizes[dim]}"
    return ""
