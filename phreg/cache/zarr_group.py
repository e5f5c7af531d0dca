"""`TargetRows` as the objects of one Zarr v3 group, and back.

| array | shape | type | |
| --- | --- | --- | --- |
| `features` | [N, P, C] | by encoding | Zarr sharding: an inner chunk per image, up to 32 images per object |
| `scales`, `channel_mean`, `channel_std` | [N, P], [N, C], [N, C] | float32 | int8 only |
| `variance` | [N, P] | float32 | of the mean over views, if the spec says so: `method/certainty.py` |
| `keys` | [N, bytes] | uint8 | UTF-8, zero-padded: Zarr v3 has no settled string type |
| `crops`, `boxes`, `views` | [N], [N, 3], [N, n, 3] | int32 | |

The group's attributes name the encoding and the format's version. Metadata is consolidated, chunks carry
a CRC32C and are written even if they are all zero. Nothing is compressed: zstd saves 6-8 % of float16
features and costs every reader the time to undo it; who needs less space takes int8. Any Zarr v3 library
reads the group; nothing in it depends on the attempt, so equal rows give equal bytes.

The objects of `features` are put together here, byte by byte as zarr-python does it (a test compares them):
Zarr wants the whole array's shape before its first object, and takes 3.7 ms for an image of ViT-B at 518 px.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from phreg.cache.encodings import LAYOUTS, VARIANCE, EncodedFeatures, layout_of
from phreg.cache.rows import TargetRows

FORMAT = "phreg-targets"
FORMAT_VERSION = 1
MAX_IMAGES_PER_OBJECT = 32
MAX_OBJECT_BYTES = 64 * 2**20  # larger objects would be uploaded in parts, and read in one long breath

Array = npt.NDArray[Any]
_CRC_BYTES = 4

FIXED_ARRAYS = {
    "keys": ("row", "byte"),
    "crops": ("row",),
    "boxes": ("row", "top_left_side"),
    "views": ("row", "view", "dy_dx_flip"),
}


class GroupLayout(NamedTuple):
    """What the features of a group are: encoding, patches P and channels C."""

    encoding: str
    patches: int
    channels: int

    @property
    def rows_per_object(self) -> int:
        itemsize = np.dtype(LAYOUTS[self.encoding]["features"][0]).itemsize
        return rows_per_object(itemsize * self.patches * self.channels)


def features_object(features: Iterable[Array], rows_per_object: int) -> bytes:
    """A Zarr shard of at most so many rows [P, C]: for each an inner chunk and its CRC32C, then the index
    (offset and length of each chunk; ones where there is none) and its own."""
    index = np.full((rows_per_object, 2), np.iinfo(np.uint64).max, "<u8")
    parts: list[Any] = []
    for row, values in enumerate(features):
        chunk = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
        index[row] = row * (chunk.nbytes + _CRC_BYTES), chunk.nbytes + _CRC_BYTES
        parts += [chunk.data.cast("B"), _crc(chunk)]
    return b"".join([*parts, index.tobytes(), _crc(index)])


def features_path(index: int) -> str:
    """Of the `index`th of these objects."""
    return f"features/c/{index}/0/0"


def frame_objects(layout: GroupLayout, keys: Sequence[str], arrays: Mapping[str, Array]) -> dict[str, bytes]:
    """All other objects of a group: the metadata, and its small arrays (`frame_arrays`)."""
    stored: dict[str, Buffer] = {}
    attributes = {"format": FORMAT, "format_version": FORMAT_VERSION, "encoding": layout.encoding}
    group = zarr.create_group(MemoryStore(stored), zarr_format=3, attributes=attributes)
    for name, array in ({"keys": _pack_keys(keys)} | dict(arrays)).items():
        target = _create(group, name, array.shape, array.dtype, _dims(layout, name))
        if array.size:
            target[...] = array
    shape = (len(keys), layout.patches, layout.channels)
    dtype = np.dtype(LAYOUTS[layout.encoding]["features"][0])
    _create(group, "features", shape, dtype, _dims(layout, "features"), layout.rows_per_object)
    objects = {path: buffer.to_bytes() for path, buffer in sorted(stored.items())}
    return objects | {"zarr.json": _consolidated(objects)}


def frame_arrays(rows: TargetRows) -> dict[str, Array]:
    """What rows have beside keys and features, by array name: some kilobytes a row."""
    small = {name: array for name, array in rows.features.arrays.items() if name != "features"}
    return {"crops": rows.crops, "boxes": rows.boxes, "views": rows.views} | small


def rows_to_objects(rows: TargetRows) -> dict[str, bytes]:
    """The group's objects by relative path."""
    layout = GroupLayout(rows.features.encoding, *rows.features.shape[1:])
    size, features = layout.rows_per_object, rows.features.arrays["features"]
    parts = [features[first : first + size] for first in range(0, len(rows), size)]
    objects = {features_path(index): features_object(part, size) for index, part in enumerate(parts)}
    return dict(sorted((objects | frame_objects(layout, rows.keys, frame_arrays(rows))).items()))


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
        features=EncodedFeatures(
            encoding, {name: _get(group, name) for name in layout_of(encoding, "variance" in group)}
        ),
    )


def _create(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    dimensions: tuple[str, ...],
    rows_per_object: int | None = None,
) -> zarr.Array[Any]:
    """An array without values: in one chunk, or in a chunk a row, bundled in shards of many rows."""
    whole = tuple(max(size, 1) for size in shape)
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=(1, *whole[1:]) if rows_per_object else whole,
        shards=(rows_per_object, *whole[1:]) if rows_per_object else None,
        filters=None,
        compressors=[Crc32cCodec()],
        dimension_names=dimensions,
        attributes={"bits_of": "bfloat16"} if dtype == np.uint16 else {},
        config={"write_empty_chunks": True},
    )


def _dims(layout: GroupLayout, name: str) -> tuple[str, ...]:
    return FIXED_ARRAYS[name] if name in FIXED_ARRAYS else (LAYOUTS[layout.encoding] | VARIANCE)[name][1]


def _crc(data: Array) -> bytes:
    return int(google_crc32c.value(data.reshape(-1).view(np.uint8))).to_bytes(_CRC_BYTES, "little")


def rows_per_object(row_bytes: int) -> int:
    """How many rows share a Zarr shard object."""
    return max(1, min(MAX_IMAGES_PER_OBJECT, MAX_OBJECT_BYTES // max(row_bytes, 1)))


def _get(group: zarr.Group, name: str) -> Array:
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


def _pack_keys(keys: Sequence[str]) -> npt.NDArray[np.uint8]:
    encoded = [key.encode() for key in keys]
    width = max([len(key) for key in encoded], default=1)
    padded = b"".join(key.ljust(width, b"\0") for key in encoded)
    return np.frombuffer(padded, np.uint8).reshape(len(encoded), width)


def _unpack_keys(packed: npt.NDArray[np.uint8]) -> list[str]:
    return [row.tobytes().rstrip(b"\0").decode() for row in packed]
