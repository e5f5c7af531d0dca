"""How target features are stored: `EncodedFeatures`, and the four encodings; with them, if it was asked for,
the variance of each token, always as float32.

Shapes: N rows, P patches, C channels. Decoding runs on the device that consumes, so that half or a
quarter of the bytes travel there.

| encoding | bytes a value | error |
| --- | --- | --- |
| `float32` | 4 | none |
| `float16` | 2 | half a unit in the 11th bit; values above 65504 are refused |
| `bfloat16` | 2 | half a unit in the 8th bit (round to nearest even) |
| `int8` | 1 | see `int8.py` |
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
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
        "channel_mean": ("float32", ("row", "channel")),
        "channel_std": ("float32", ("row", "channel")),
    },
}
"""The arrays of each encoding: name -> (dtype, dimensions)."""

VARIANCE = {"variance": ("float32", ("row", "patch"))}


def layout_of(encoding: str, variance: bool) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The arrays of features in an encoding that there is, with their variance or without."""
    return LAYOUTS[encoding] | (VARIANCE if variance else {})


LARGEST = {
    encoding: float(np.float32(value))
    for encoding, value in {"float32": 3.4e38, "float16": 65504, "bfloat16": 3.38e38, "int8": 5e37}.items()
}
"""The largest magnitude that each encoding takes. int8: decoding passes through up to 5 times as much."""


@dataclass(frozen=True, eq=False)
class EncodedFeatures:
    """Features [N, P, C] in one of the encodings. `arrays` is what `layout_of` says; treat it as frozen."""

    encoding: str
    arrays: dict[str, Array] = field(repr=False)

    def __post_init__(self) -> None:
        if problem := _layout_problem(self.encoding, self.arrays):
            raise CacheError(f"These arrays are no features encoded as {self.encoding}", found=problem)

    @classmethod
    def encode(
        cls,
        features: Float[Tensor, "N P C"] | Array,
        encoding: str,
        variance: Float[Tensor, "N P"] | None = None,
    ) -> "EncodedFeatures":
        """Encode float32 features, where they are; equal input gives equal bytes, in whatever batch.

        Raises `NonFiniteError` for NaN or Inf, and `CacheError` for values that the encoding cannot hold.
        """
        values = features if isinstance(features, Tensor) else torch.from_numpy(np.asarray(features))
        values = values.detach().to(torch.float32)
        if values.ndim != 3 or encoding not in LAYOUTS:
            raise CacheError(
                "These features cannot be encoded",
                expected=f"shape [N, P, C] and one of {', '.join(LAYOUTS)}",
                found=f"shape {list(values.shape)} and {encoding!r}",
            )
        _check_range(row_magnitudes(values).tolist(), encoding)
        return cls.of_tensors(encoding, encode_tensors(values, encoding, variance))

    @classmethod
    def of_tensors(cls, encoding: str, tensors: dict[str, Tensor]) -> "EncodedFeatures":
        """What `encode_tensors` gave, once it is on the CPU."""
        return cls(encoding, {name: _to_numpy(tensor.cpu()) for name, tensor in tensors.items()})

    def decode(self, device: torch.device | str | None = None) -> Float[Tensor, "N P C"]:
        """float32 features on `device`, where the arithmetic is done. A tensor of its own."""
        tensors = {name: _to_torch(self.arrays[name]).to(device) for name in LAYOUTS[self.encoding]}
        return _DECODE[self.encoding](tensors)

    def variance(self, device: torch.device | str | None = None) -> Float[Tensor, "N P"] | None:
        """Of each token, on `device`, if it is there (`phreg/method/certainty.py` says what of)."""
        return _to_torch(self.arrays["variance"]).to(device) if self.has_variance else None

    @property
    def has_variance(self) -> bool:
        return "variance" in self.arrays

    def __len__(self) -> int:
        return int(self.arrays["features"].shape[0])

    def __getitem__(self, rows: Rows) -> "EncodedFeatures":
        """Some of the rows, still encoded; one row keeps its axis: `features[3]` has shape [1, P, C]."""
        if isinstance(rows, int | np.integer):
            rows = [int(rows)]
        index = rows if isinstance(rows, slice) else np.asarray(rows, np.intp)
        layout = layout_of(self.encoding, self.has_variance)
        dims = {name: layout[name][1] for name in layout}
        return EncodedFeatures(
            self.encoding,
            {name: array[index] if dims[name][0] == "row" else array for name, array in self.arrays.items()},
        )

    def non_finite_rows(self) -> list[int]:
        """Rows of which some value decodes to NaN or Inf, or some variance is."""
        suspect = np.flatnonzero(_SUSPECT[self.encoding](self.arrays)).tolist()
        bad = [row for row in suspect if not torch.isfinite(self[row].decode()).all()]
        if self.has_variance:
            bad += np.flatnonzero(~np.isfinite(self.arrays["variance"]).all(1)).tolist()
        return sorted(set(bad))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, P, C)."""
        rows, patches, channels = self.arrays["features"].shape
        return int(rows), int(patches), int(channels)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


def encoded_bytes(encoding: str, rows: int, patches: int, channels: int, variance: bool = False) -> int:
    """Bytes that features [rows, patches, channels] take once encoded, with their variance or without."""
    sizes = {"row": rows, "patch": patches, "channel": channels}
    return sum(
        np.dtype(dtype).itemsize * int(np.prod([sizes[dim] for dim in dims]))
        for dtype, dims in layout_of(encoding, variance).values()
    )


def encode_tensors(
    values: Float[Tensor, "N P C"], encoding: str, variance: Float[Tensor, "N P"] | None = None
) -> dict[str, Tensor]:
    """The arrays of `layout_of` as tensors where the values are, bfloat16 and all.

    Rows that the encoding cannot hold (see `row_magnitudes`) come out as anything.
    """
    encode, sure = _ENCODE[encoding], {} if variance is None else {"variance": variance}
    if values.device.type != "cpu" or len(values) < 2:
        return encode(values) | sure
    rows = [encode(row) for row in values.split(1)]  # one image at a time stays in the caches
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]} | sure


def row_magnitudes(values: Float[Tensor, "N P C"]) -> Float[Tensor, " N"]:
    """The largest magnitude in each row, NaN where there is one: what does not fit into an encoding is told
    by it (`LARGEST`)."""
    return values.flatten(1).abs().amax(1) if values[0:1].numel() else values.new_zeros(len(values))


def _check_range(largest: Sequence[float], encoding: str) -> None:
    if bad := [row for row, value in enumerate(largest) if not math.isfinite(value)]:
        raise NonFiniteError(
            f"Features of {len(bad)} of {len(largest)} rows are NaN or Inf; nothing was written",
            expected="finite features",
            found=f"rows {_first(bad)}",
            remedy="quarantine these samples, or run the teacher in float32",
        )
    if bad := [row for row, value in enumerate(largest) if value > LARGEST[encoding]]:
        raise CacheError(
            f"Features of {len(bad)} of {len(largest)} rows do not fit into {encoding}; nothing was written",
            expected=f"magnitudes up to {LARGEST[encoding]:g}",
            found=f"up to {max(largest):g}, in rows {_first(bad)}",
            remedy="choose the encoding bfloat16 or float32 for these targets",
        )


def _first(rows: list[int]) -> str:
    return ", ".join(str(row) for row in rows[:10]) + (", ..." if len(rows) > 10 else "")


def _to_numpy(tensor: Tensor) -> Array:
    bits = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
    array: Array = bits.contiguous().numpy()
    return array.view(np.uint16) if tensor.dtype == torch.bfloat16 else array


def _to_torch(array: Array) -> Tensor:
    if array.dtype == np.uint16:
        array = array.view(np.int16)  # the same bits, in a type that every torch device has
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _float_suspects(bits: Any, exponent: int) -> Callable[[dict[str, Array]], Array]:
    """Rows with an exponent of ones, which only Inf and NaN have: an integer's maximum, and no decoding."""

    def suspects(arrays: dict[str, Array]) -> Array:
        features = np.ascontiguousarray(arrays["features"]).view(bits)
        largest = (features & np.iinfo(bits).max // 2).max(axis=(1, 2), initial=0)
        found: Array = largest >= exponent
        return found

    return suspects


def _int8_suspects(arrays: dict[str, Array]) -> Array:
    """Rows in which a code of its largest size might leave float32, somewhere on the way."""
    scale, std, mean = (
        np.abs(arrays[name].astype(np.float64)).max(axis=1, initial=0.0)  # NaN wins any maximum
        for name in ("scales", "channel_std", "channel_mean")
    )
    bound = np.maximum(128 * scale, 128 * scale * std + mean)
    found: Array = ~(bound < float(np.finfo(np.float32).max) / 2)
    return found


_ENCODE: dict[str, Callable[[Tensor], dict[str, Tensor]]] = {
    "float32": lambda values: {"features": values.clone()},
    "float16": lambda values: {"features": values.to(torch.float16)},
    "bfloat16": lambda values: {"features": values.to(torch.bfloat16)},
    "int8": encode_int8,
}
_SUSPECT: dict[str, Callable[[dict[str, Array]], Array]] = {
    "float32": _float_suspects(np.uint32, 0x7F800000),
    "float16": _float_suspects(np.uint16, 0x7C00),
    "bfloat16": _float_suspects(np.uint16, 0x7F80),
    "int8": _int8_suspects,
}
_DECODE: dict[str, Callable[[dict[str, Tensor]], Tensor]] = {
    "float32": lambda tensors: tensors["features"].clone(),
    "float16": lambda tensors: tensors["features"].float(),
    "bfloat16": lambda tensors: tensors["features"].view(torch.bfloat16).float(),
    "int8": decode_int8,
}


def _layout_problem(encoding: str, arrays: dict[str, Array]) -> str:
    """What is wrong with these arrays; nothing if they fit."""
    layout = layout_of(encoding, "variance" in arrays) if encoding in LAYOUTS else {}
    if layout.keys() != arrays.keys():
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
