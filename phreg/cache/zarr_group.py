"""`TargetRows` as the objects of one Zarr v3 group, and back; all in memory.

| array | shape | type | |
| --- | --- | --- | --- |
| `features` | [N, P, C] | by encoding | Zarr sharding: an inner chunk per image, up to 32 images per object |
| `scales`, `channel_mean`, `channel_std` | [N, P], [C], [C] | float32 | int8 only |
| `keys` | [N, bytes] | uint8 | UTF-8, zero-padded: Zarr v3 has no settled string type |
| `crops`, `boxes`, `views` | [N], [N, 3], [N, n, 3] | int32 | |

The group's attributes name the encoding and the format's version. Metadata is consolidated, chunks carry
a CRC32C and are written even if they are all zero. Nothing is compressed: zstd saves 6-8 % of float16
features and costs every reader the time to undo it; who needs less space takes int8. Any Zarr v3 library
reads the group; nothing in it depends on the attempt, so equal rows give equal bytes.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from phreg.cache.encodings import LAYOUTS, EncodedFeatures
from phreg.cache.rows import TargetRows

FORMAT = "phreg-targets"
FORMAT_VERSION = 1
MAX_IMAGES_PER_OBJECT = 32
MAX_OBJECT_BYTES = 64 * 2**20  # larger objects would be uploaded in parts, and read in one long breath

FIXED_ARRAYS = {
    "keys": ("row", "byte"),
    "crops": ("row",),
    "boxes": ("row", "top_left_side"),
    "views": ("row", "view", "dy_dx_flip"),
}


def rows_to_objects(rows: TargetRows) -> dict[str, bytes]:
    """The group's objects by relative path, sorted."""
    encoding = rows.features.encoding
    stored: dict[str, Buffer] = {}
    attributes = {"format": FORMAT, "format_version": FORMAT_VERSION, "encoding": encoding}
    group = zarr.create_group(MemoryStore(stored), zarr_format=3, attributes=attributes)
    arrays: dict[str, npt.NDArray[Any]] = {
        "keys": _pack_keys(rows.keys),
        "crops": rows.crops,
        "boxes": rows.boxes,
        "views": rows.views,
    }
    for name, array in arrays.items():
        _put(group, name, array, FIXED_ARRAYS[name])
    for name, array in rows.features.arrays.items():
        _put(group, name, array, LAYOUTS[encoding][name][1])
    objects = {path: buffer.to_bytes() for path, buffer in sorted(stored.items())}
    return objects | {"zarr.json": _consolidated(objects)}


def rows_from_objects(objects: Mapping[str, bytes]) -> TargetRows:
    """Undo `rows_to_objects`. The objects must be complete: Zarr reads missing ones as zeros."""
    buffer = default_buffer_prototype().buffer
    store = MemoryStore({path: buffer.from_bytes(data) for path, data in objects.items()}, read_only=True)
    group = zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=True)
    encoding = str(group.attrs["encoding"])
    if group.attrs["format"] != FORMAT or group.attrs["format_version"] != FORMAT_VERSION:
        raise ValueError(f"a group of format {group.attrs['format']} {group.attrs['format_version']}")
    return TargetRows(
        keys=_unpack_keys(_get(group, "keys")),
        crops=_get(group, "crops"),
        boxes=_get(group, "boxes"),
        views=_get(group, "views"),
        features=EncodedFeatures(encoding, {name: _get(group, name) for name in LAYOUTS[encoding]}),
    )


def _put(group: zarr.Group, name: str, array: npt.NDArray[Any], dimensions: tuple[str, ...]) -> None:
    """Write an array; what has a patch axis comes in a chunk a row, bundled in shards of many rows."""
    whole = tuple(max(size, 1) for size in array.shape)
    by_row, row_bytes = name == "features", array.itemsize * math.prod(array.shape[1:])
    target = group.create_array(
        name,
        shape=array.shape,
        dtype=array.dtype,
        chunks=(1, *whole[1:]) if by_row else whole,
        shards=(rows_per_object(row_bytes), *whole[1:]) if by_row else None,
        filters=None,
        compressors=[Crc32cCodec()],
        dimension_names=dimensions,
        attributes={"bits_of": "bfloat16"} if array.dtype == np.uint16 else {},
        config={"write_empty_chunks": True},
    )
    if array.size:
        target[...] = array


def rows_per_object(row_bytes: int) -> int:
    """How many rows share a Zarr shard object."""
    return max(1, min(MAX_IMAGES_PER_OBJECT, MAX_OBJECT_BYTES // max(row_bytes, 1)))


def _get(group: zarr.Group, name: str) -> npt.NDArray[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{name} is no array")
    return np.asarray(array[...])


def _consolidated(objects: Mapping[str, bytes]) -> bytes:
    """The root's metadata with all arrays' metadata inline (what `zarr.consolidate_metadata` writes)."""
    root: dict[str, Any] = json.loads(objects["zarr.json"])
    arrays = {
        path.removesuffix("/zarr.json"): json.loads(data)
        for path, data in objects.items()
        if path.endswith("/zarr.json")
    }
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": arrays}
    return json.dumps(root, indent=2).encode()


def _pack_keys(keys: Any) -> npt.NDArray[np.uint8]:
    encoded = [key.encode() for key in keys]
    width = max([len(key) for key in encoded], default=1)
    padded = b"".join(key.ljust(width, b"\0") for key in encoded)
    return np.frombuffer(padded, np.uint8).reshape(len(encoded), width)


def _unpack_keys(packed: npt.NDArray[np.uint8]) -> list[str]:
    return [row.tobytes().rstrip(b"\0").decode() for row in packed]
