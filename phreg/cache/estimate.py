"""What targets will take in storage, and in memory when they are read, before they are made."""

import math

import numpy as np
import zarr

from phreg.cache.encodings import LAYOUTS, encoded_bytes, layout_of
from phreg.cache.spec import TargetSpec
from phreg.cache.zarr_group import FIXED_ARRAYS, rows_per_object


def estimated_bytes(spec: TargetSpec, rows: int) -> int:
    """Bytes of the features (and variance) of `rows` crops; keys, boxes, views and metadata are kilobytes."""
    return encoded_bytes(spec.encoding, rows, spec.patches, spec.dim, spec.variance)


def bytes_while_reading(spec: TargetSpec, rows: int) -> int:
    """Memory that reading the targets of `rows` crops takes at most, beside what is returned: the stored
    objects, and those of them that Zarr decodes at the same time once more."""
    at_once = zarr.config.get("async.concurrency") * rows_per_object(_row_bytes(spec))
    return estimated_bytes(spec, rows) + estimated_bytes(spec, min(rows, at_once))


def estimated_objects(spec: TargetSpec, rows: int) -> int:
    """Objects of one shard with `rows` crops: arrays, their metadata, and the commit record."""
    arrays = len(FIXED_ARRAYS) + len(layout_of(spec.encoding, spec.variance))
    chunks = math.ceil(rows / rows_per_object(_row_bytes(spec))) + arrays - 1 if rows else 0
    metadata = arrays + 1
    return chunks + metadata + 1


def _row_bytes(spec: TargetSpec) -> int:
    return spec.patches * spec.dim * np.dtype(LAYOUTS[spec.encoding]["features"][0]).itemsize
