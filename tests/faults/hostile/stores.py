"""Caches and stored results edited by hand: named, or made again."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from phreg.cache import Cache, TargetStore
from phreg.evaluate.probe.features import FeatureMaker
from phreg.models import load_backbone
from phreg.storage import Folder
from phreg.storage.checksummed import to_checksummed_json, to_checksummed_tensors
from tests.cache.examples import SHARD_DIGEST, make_rows, make_spec
from tests.faults.hostile.case import Case
from tests.helpers import tiny_dinov2

Change = Callable[[dict[str, Any]], dict[str, Any]]


def _store(folder: Path) -> TargetStore:
    store = TargetStore.create(Folder(str(folder / "cache")), make_spec())
    store.commit("a-0", SHARD_DIGEST, make_rows())
    return store


def record_with(change: Change, sealed: bool = True) -> Callable[[Path], Callable[[], str]]:
    """A commit record changed, its checksum made right again or not; then all is read."""

    def make(folder: Path) -> Callable[[], str]:
        store = _store(folder)
        path = Path(store.folder.url) / "shards" / "a-0.json"
        fields = json.loads(path.read_bytes())
        checksum = fields.pop("checksum")
        changed = fields | change(fields)
        path.write_bytes(
            to_checksummed_json(changed) if sealed else json.dumps(changed | {"checksum": checksum}).encode()
        )
        return lambda: f"{len(store.read('a-0'))} rows"

    return make


def file_with(name: str, data: bytes) -> Callable[[Path], Callable[[], str]]:
    """A file of the store replaced; then the cache is opened and read as a whole."""

    def make(folder: Path) -> Callable[[], str]:
        store = _store(folder)
        (path,) = Path(store.folder.url).glob(name)
        path.write_bytes(data)
        cache = Cache(store.cache)
        return lambda: str([[len(s.read(n)) for n in s.shards()] for s in map(cache.store, cache.specs())])

    return make


def objects(change: Callable[[str], str]) -> Change:
    return lambda fields: {"objects": {change(path): digest for path, digest in fields["objects"].items()}}


def _features(data: bytes | None, folder: Path) -> Callable[[], str]:
    """Stored features of a probe replaced, by other bytes or by other numbers; then asked for again."""
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    maker = FeatureMaker(load_backbone(tiny_dinov2()), Folder(str(folder)))
    first = maker.features(images)
    (path,) = folder.glob("*.safetensors")
    made = maker.forward_passes
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if data is None else data)

    def use() -> str:
        again = maker.features(images)
        assert torch.equal(again, first), "other features than before"
        assert maker.forward_passes == 2 * made, "not made again"
        return "made again"

    return use


_RECORDS: dict[str, tuple[Callable[[Path], Callable[[], str]], str]] = {
    "rows changed": (record_with(lambda f: {"rows": 9}, sealed=False), "checksum"),
    "rows changed, sealed": (record_with(lambda f: {"rows": 9}), "3 rows instead of 9"),
    "another shard's record": (record_with(lambda f: {"shard": "b-0"}), "another shard"),
    "one key more": (record_with(lambda f: {"evil": 1}), "evil"),
    "an attempt that leaves the folder": (record_with(lambda f: {"attempt": "../../../etc"}), "attempt"),
    "objects outside": (record_with(objects(lambda path: f"../../../../{path}")), "objects"),
    "objects at absolute paths": (record_with(objects(lambda path: f"/etc/{path}")), "objects"),
    "no objects": (record_with(lambda f: {"objects": {}}), "cannot be read"),
    "no digest": (record_with(lambda f: {"data_digest": ""}), "data_digest"),
    "a size below zero": (record_with(lambda f: {"bytes": -1}), "bytes"),
    "an empty record": (file_with("shards/a-0.json", b""), "damaged"),
    "a record of brackets": (file_with("shards/a-0.json", b"[" * 100_000), "damaged"),
    "a record of zeros": (file_with("shards/a-0.json", bytes(500)), "damaged"),
    "a chunk of zeros": (file_with("data/*/features/c/0/0/0", bytes(64)), "not what was committed"),
    "a pickle among the data": (file_with("data/*/zarr.json", b"\x80\x04N."), "not what was committed"),
}
CASES = (
    *(Case("cache", name, make, "CorruptTargetsError", says) for name, (make, says) in _RECORDS.items()),
    Case(
        "cache",
        "a later format",
        record_with(lambda f: {"format_version": 2}),
        "SpecMismatchError",
        "newer phreg",
    ),
    Case("cache", "a spec edited", file_with("spec.json", b'{"seed": 1}'), "SpecMismatchError", "spec.json"),
    Case("cache", "a spec of brackets", file_with("spec.json", b"[" * 100_000), "SpecMismatchError", "spec"),
    *(
        Case("features", name, functools.partial(_features, data), "made again")
        for name, data in {
            "one bit": None,
            "nothing": b"",
            "zeros": bytes(5000),
            "a pickle": b"\x80\x04N.",
            "other numbers, well sealed but of another shape": to_checksummed_tensors(
                {"features": torch.zeros(2, 3)}
            ),
            "tensors without a seal": b"\x02\0\0\0\0\0\0\0{}",
        }.items()
    ),
)
