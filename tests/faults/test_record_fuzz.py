"""Stored records under fuzzing: what was written, or the error that names the object; never anything else."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phreg.cache import TargetSpec
from phreg.cache.records import CommitRecord, ObjectDigest
from phreg.errors import CheckpointError, CorruptTargetsError, ModelError, RegistryError, SpecMismatchError
from phreg.fingerprint import canonical_json, digest_json
from phreg.models.hub_config import parse_hub_config
from phreg.models.weight_files import parse_state_dict
from phreg.registry.entry import EntryRecord
from phreg.storage.checksummed import (
    from_checksummed_json,
    from_checksummed_tensors,
    to_checksummed_json,
    to_checksummed_tensors,
)
from tests.cache.examples import SHARD_DIGEST, make_spec
from tests.faults.hostile.hubs import _files
from tests.faults.test_config_fuzz import PLAIN

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore::UserWarning")]
FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
OBJECTS = {"features/c/0": ObjectDigest.of(b"x"), "zarr.json": ObjectDigest.of(b"{}")}
COMMIT = CommitRecord.of("a-0", "0" * 12, SHARD_DIGEST, 4, [], OBJECTS)
SPEC = make_spec()
ENTRY = EntryRecord(
    model="demo", version=1, student="a", student_digest="d", created="2026", metrics={"a": 0.5},
    teacher_metrics={}, benchmark="b", files={"figures/curve.png": (3, "0" * 64)},
)  # fmt: skip
HUB = json.loads(_files()["config.json"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
BYTES = st.binary(max_size=60) | PLAIN.map(
    lambda value: json.dumps(value, default=str, skipkeys=True).encode()
)


def spoilt(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes of a record changed, cut, or put in."""
    changes = st.lists(
        st.tuples(st.integers(0, len(data) - 1), st.binary(max_size=3)), min_size=1, max_size=3
    )

    def apply(edits: list[tuple[int, bytes]]) -> bytes:
        made = data
        for place, new in edits:
            made = made[:place] + new + made[place + 1 :]
        return made

    return changes.map(apply) | st.integers(0, len(data) - 1).map(lambda end: data[:end])


def altered(fields: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """One field, or one within a field, replaced, removed or added."""
    replaced = st.tuples(st.sampled_from(sorted(fields)), JSON).map(lambda edit: fields | {edit[0]: edit[1]})
    removed = st.sampled_from(sorted(fields)).map(lambda key: {k: v for k, v in fields.items() if k != key})
    nested = [key for key, value in fields.items() if isinstance(value, dict)]
    within = st.tuples(st.sampled_from(nested or [""]), st.text(max_size=6), JSON).map(
        lambda edit: fields | {edit[0]: {**fields.get(edit[0], {}), edit[1]: edit[2]}}
    )
    return replaced | removed | (within if nested else replaced)


def refused(read: Callable[[], object], error: type[Exception]) -> object:
    """What was read; nothing where it was refused as it should be."""
    try:
        return read()
    except error:
        return None


@FUZZ
@given(BYTES | spoilt(COMMIT.to_json()))
def test_commit_records(data: bytes) -> None:
    found = refused(lambda: CommitRecord.from_json(data, "a-0", "url"), CorruptTargetsError)
    assert found in (None, COMMIT)


@FUZZ
@given(altered(COMMIT.model_dump(mode="json")))
def test_commit_records_sealed_again(fields: dict[str, Any]) -> None:
    found = refused(
        lambda: CommitRecord.from_json(to_checksummed_json(fields), "a-0", "url"), CorruptTargetsError
    )
    if found is not None:
        assert isinstance(found, CommitRecord)
        assert found.shard == "a-0"
        assert not any(".." in path.split("/") or path.startswith("/") for path in found.objects)


@FUZZ
@given(BYTES | spoilt(ENTRY.to_bytes()))
def test_entry_records(data: bytes) -> None:
    assert refused(lambda: EntryRecord.from_bytes(data, "url"), RegistryError) in (None, ENTRY)


@FUZZ
@given(altered(ENTRY.model_dump(mode="json")))
def test_entry_records_sealed_again(fields: dict[str, Any]) -> None:
    data = canonical_json(fields | {"digest": digest_json(fields)})
    found = refused(lambda: EntryRecord.from_bytes(data, "url"), RegistryError)
    if found is not None:
        assert isinstance(found, EntryRecord)
        assert not any(".." in path.split("/") or path.startswith("/") for path in found.files)


@FUZZ
@given(BYTES | spoilt(SPEC.to_json()) | altered(SPEC.model_dump(mode="json")).map(canonical_json))
def test_specs(data: bytes) -> None:
    found = refused(lambda: TargetSpec.from_json(data, SPEC.digest, "url"), SpecMismatchError)
    assert found in (None, SPEC)


@FUZZ
@given(
    BYTES
    | spoilt(json.dumps(HUB).encode())
    | altered(HUB).map(lambda fields: json.dumps(fields).encode())
    | altered(HUB["model_args"]).map(lambda given: json.dumps(HUB | {"model_args": given}).encode())
)
def test_hub_configs(data: bytes) -> None:
    found = refused(lambda: parse_hub_config(data, "url"), ModelError)
    assert found is None or ":" not in found.architecture  # type: ignore[attr-defined]


SEALED = to_checksummed_json({"a": 0.5, "b": [1, 2]})
TENSORS = to_checksummed_tensors({"features": torch.arange(6.0).reshape(2, 3)})


@FUZZ
@given(BYTES | spoilt(SEALED))
def test_sealed_objects(data: bytes) -> None:
    assert refused(lambda: from_checksummed_json(data), ValueError) in (None, {"a": 0.5, "b": [1, 2]})


@FUZZ
@given(BYTES | spoilt(TENSORS))
def test_sealed_tensors_and_weights(data: bytes) -> None:
    found: Any = refused(lambda: from_checksummed_tensors(data), ValueError)
    assert found is None or torch.equal(found["features"], torch.arange(6.0).reshape(2, 3))
    refused(lambda: parse_state_dict(data, "url"), CheckpointError)
