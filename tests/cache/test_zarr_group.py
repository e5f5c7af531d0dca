import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import MemoryStore

from phreg.cache import EncodedFeatures, TargetRows, zarr_group
from phreg.cache.encodings import LAYOUTS
from phreg.cache.zarr_group import features_object, rows_from_objects, rows_to_objects
from tests.cache.examples import assert_equal_rows, make_features, make_rows

any_encoding = pytest.mark.parametrize("encoding", sorted(LAYOUTS))


def write(folder: Path, objects: dict[str, bytes]) -> Path:
    for path, data in objects.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@any_encoding
@pytest.mark.parametrize("rows", [0, 1, 3, 70])
def test_round_trip(encoding: str, rows: int) -> None:
    expected = make_rows(rows, encoding)
    found = rows_from_objects(rows_to_objects(expected))
    assert_equal_rows(found, expected)
    assert rows_to_objects(found) == rows_to_objects(expected)


@any_encoding
def test_the_variance_is_one_array_more(tmp_path: Path, encoding: str) -> None:
    without, rows = rows_to_objects(make_rows(3, encoding)), make_rows(3, encoding, variance=True)
    objects = rows_to_objects(rows)
    assert_equal_rows(rows_from_objects(objects), rows)
    assert objects.keys() - without.keys() == {"variance/zarr.json", "variance/c/0/0"}
    assert {path for path in without if objects[path] != without[path]} == {"zarr.json"}
    group = zarr.open_group(f"file://{write(tmp_path / 'group', objects)}", mode="r")
    assert group["variance"].dtype == np.float32
    assert group["variance"].metadata.dimension_names == ("row", "patch")
    assert np.array_equal(group["variance"][:], rows.features.variance().numpy())
    assert np.array_equal(rows.features[[2, 0]].variance().numpy(), group["variance"][:][[2, 0]])


@any_encoding
def test_equal_rows_give_equal_bytes(encoding: str) -> None:
    assert rows_to_objects(make_rows(70, encoding)) == rows_to_objects(make_rows(70, encoding))


def test_no_warning_of_unstable_types() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows_from_objects(rows_to_objects(make_rows(2)))


@any_encoding
def test_plain_zarr_reads_it(tmp_path: Path, encoding: str) -> None:
    rows = make_rows(5, encoding)
    folder = write(tmp_path / "group", rows_to_objects(rows))
    group = zarr.open_group(f"file://{folder}", mode="r", use_consolidated=True)
    assert group.attrs["encoding"] == encoding
    keys = [bytes(row).rstrip(b"\0").decode() for row in group["keys"][:]]
    assert keys == list(rows.keys)
    assert np.array_equal(group["boxes"][:], rows.boxes)
    assert np.array_equal(group["views"][:], rows.views)
    features = group["features"]
    assert features.metadata.dimension_names == ("row", "patch", "channel")
    assert decode_by_hand(group, encoding) == pytest.approx(rows.features.decode().numpy(), rel=1e-6)
    zarr.open_group(f"file://{folder}", mode="r", use_consolidated=False)["views"][:]


def decode_by_hand(group: zarr.Group, encoding: str) -> np.ndarray:
    features = group["features"][:]
    if encoding == "bfloat16":
        assert group["features"].attrs["bits_of"] == "bfloat16"
        return (features.astype(np.uint32) << 16).view(np.float32)
    if encoding == "int8":
        standard = features.astype(np.float32) * group["scales"][:][..., None]
        return standard * group["channel_std"][:][:, None] + group["channel_mean"][:][:, None]
    return features.astype(np.float32)


@any_encoding
def test_metadata_is_consolidated_as_zarr_does_it(encoding: str) -> None:
    objects = rows_to_objects(make_rows(2, encoding))
    ours = json.loads(objects["zarr.json"])
    stored = {path: zarr_group.default_buffer_prototype().buffer.from_bytes(d) for path, d in objects.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidation is not in Zarr's v3 specification yet
        zarr.consolidate_metadata(zarr.storage.MemoryStore(stored))
    theirs = json.loads(stored["zarr.json"].to_bytes())
    assert ours == theirs


def test_every_chunk_of_every_array_has_a_checksum(tmp_path: Path) -> None:
    """A flipped byte in any chunk is an error even to plain Zarr."""
    objects = rows_to_objects(make_rows(3, "int8"))
    chunks = [path for path in objects if "/c/" in path or path.endswith("/c")]
    assert len(chunks) == 8
    for path in chunks:
        data = bytearray(objects[path])
        data[0] ^= 1
        with pytest.raises(ValueError, match="checksum"):
            rows_from_objects(objects | {path: bytes(data)})


def test_zeros_are_written() -> None:
    """Else a missing chunk and a chunk of zeros would look the same."""
    rows = make_rows(33)
    zeros = TargetRows(
        rows.keys,
        rows.crops * 0,
        rows.boxes * 0,
        rows.views * 0,
        EncodedFeatures.encode(make_features(33) * 0, "float16"),
    )
    assert {path: len(data) for path, data in rows_to_objects(zeros).items()} == {
        path: len(data) for path, data in rows_to_objects(rows).items()
    }


def test_an_image_is_a_chunk_and_an_object_holds_some_tens(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = rows_to_objects(make_rows(70))
    assert sorted(path for path in objects if path.startswith("features/c")) == [
        f"features/c/{part}/0/0" for part in range(3)
    ]
    metadata = json.loads(objects["features/zarr.json"])
    assert metadata["codecs"][0]["configuration"]["chunk_shape"] == [1, 6, 5]
    row_bytes = make_rows(1).features.nbytes
    monkeypatch.setattr(zarr_group, "MAX_OBJECT_BYTES", 10 * row_bytes + 1)
    objects = rows_to_objects(make_rows(70))
    assert len([path for path in objects if path.startswith("features/c")]) == math.ceil(70 / 10)


@any_encoding
@pytest.mark.parametrize("rows", [1, 5, 7])
def test_feature_objects_are_those_that_zarr_writes(encoding: str, rows: int) -> None:
    features = make_rows(rows, encoding).features.arrays["features"]
    stored: dict = {}
    array = zarr.create_array(
        MemoryStore(stored),
        shape=features.shape,
        dtype=features.dtype,
        chunks=(1, *features.shape[1:]),
        shards=(5, *features.shape[1:]),
        filters=None,
        compressors=[Crc32cCodec()],
        config={"write_empty_chunks": True},
    )
    array[...] = features
    theirs = {path: buffer.to_bytes() for path, buffer in stored.items() if path.startswith("c/")}
    parts = [features[first : first + 5] for first in range(0, rows, 5)]
    assert theirs == {f"c/{index}/0/0": features_object(part, 5) for index, part in enumerate(parts)}


def test_a_group_of_another_format_is_refused() -> None:
    objects = rows_to_objects(make_rows(2))
    root = json.loads(objects["zarr.json"])
    root["attributes"]["format_version"] = 99
    with pytest.raises(ValueError, match="99"):
        rows_from_objects(objects | {"zarr.json": json.dumps(root).encode()})
