"""What targets will take in storage, before they are made."""

import math

import numpy as np

from phreg.cache.encodings import LAYOUTS, encoded_bytes
from phreg.cache.spec import TargetSpec
from phreg.cache.zarr_group import FIXED_ARRAYS, rows_per_object


def estimated_bytes(spec: TargetSpec, rows: int) -> int:
    """Bytes of the features of `rows` crops; keys, boxes, views and metadata add some kilobytes per shard."""
    return encoded_bytes(spec.encoding, rows, spec.patches, spec.dim)


def estimated_objects(spec: TargetSpec, rows: int) -> int:
    """Objects of one shard with `rows` crops: arrays, their metadata, and the commit record."""
    layout = LAYOUTS[spec.encoding]
    arrays = len(FIXED_ARRAYS) + len(layout)
    row_bytes = spec.patches * spec.dim * np.dtype(layout["features"][0]).itemsize
    chunks = math.ceil(rows / rows_per_object(row_bytes)) + arrays - 1 if rows else 0
    metadata = arrays + 1
    return chunks + metadata + 1
