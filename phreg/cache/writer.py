"""`ShardWriter`: the targets of one shard, written as they are made; the store commits them last.

An object of features is put as soon as it is full, so memory does not grow with the shard: it holds the rows
of one object, objects on their way, and some kilobytes a row (keys, boxes, views, scales).
"""

import contextlib
import uuid
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from phreg.cache.parallel import in_parallel
from phreg.cache.records import CommitRecord, ObjectDigest, attempt_folder, check_shard_name
from phreg.cache.rows import TargetRows
from phreg.cache.spec import TargetSpec
from phreg.cache.zarr_group import GroupLayout, features_object, features_path, frame_arrays, frame_objects
from phreg.errors import CacheError, NonFiniteError, StorageError
from phreg.storage import Folder
from phreg.types import Quarantined

OBJECTS_ON_THEIR_WAY = 2
Array = npt.NDArray[Any]


class ShardWriter:
    """One attempt at one shard, below the `folder` of a spec. For one thread; use it as a context: what an
    error leaves on a local disk is removed, as the disk may be full; elsewhere `gc` does it.
    """

    def __init__(self, folder: Folder, name: str, spec: TargetSpec) -> None:
        self._folder, self._name, self._spec = folder, check_shard_name(name), spec
        self._layout = GroupLayout(spec.encoding, spec.patches, spec.dim)
        self._attempt = uuid.uuid4().hex[:12]
        self._place = folder / attempt_folder(name, self._attempt)
        self._keys: list[str] = []
        self._frames: list[dict[str, Array]] = []
        self._waiting: list[Array] = []
        self._objects: dict[str, ObjectDigest] = {}
        self._puts: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(OBJECTS_ON_THEIR_WAY, "phreg-cache")

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        if isinstance(error, Exception):
            with contextlib.suppress(StorageError):  # the error that matters is the first
                if self._folder.is_local and not self._folder.exists(f"shards/{self._name}.json"):
                    self._folder.remove_all(attempt_folder(self._name, self._attempt))

    def add(self, rows: TargetRows) -> None:
        """Take some more rows. Raises `CacheError` if they do not fit the spec, `NonFiniteError` unless they
        all decode to finite features, and `StorageError`, also for what was put before."""
        check_fits(rows, self._spec)
        _check_finite(self._name, rows)
        self._keys += rows.keys
        self._frames.append(frame_arrays(rows))
        self._waiting += list(rows.features.arrays["features"])
        size = self._layout.rows_per_object
        while len(self._waiting) >= size:
            self._put_features(self._waiting[:size])
            self._waiting = [row.copy() for row in self._waiting[size:]]  # no views that hold a batch

    def finish(
        self, shard_digest: str, quarantined: Sequence[Quarantined] = (), source: str | None = None
    ) -> CommitRecord:
        """Put all that is left. Until a store creates the record that comes back, nothing is committed."""
        if self._waiting:
            self._put_features(self._waiting)
            self._waiting = []
        frame = frame_objects(self._layout, self._keys, self._joined_frames())
        in_parallel(lambda path: self._put(path, frame[path]), frame)
        while self._puts:
            self._puts.popleft().result()
        objects = self._objects | {path: ObjectDigest.of(data) for path, data in frame.items()}
        return CommitRecord.of(
            self._name, self._attempt, shard_digest, len(self._keys), quarantined, objects, source
        )

    def _joined_frames(self) -> dict[str, Array]:
        assert self._frames, "a shard without rows adds rows of length 0: they have shapes"
        names = self._frames[0]
        arrays = {name: np.concatenate([frame[name] for frame in self._frames]) for name in names}
        if len(set(zip(self._keys, arrays["crops"].tolist(), strict=True))) != len(self._keys):
            raise CacheError(
                f"The targets of the shard {self._name!r} cannot be committed",
                expected="each crop of each sample once",
                found="the same crop of the same sample twice",
            )
        return arrays

    def _put_features(self, rows: Sequence[Array]) -> None:
        path = features_path(len(self._objects))
        data = features_object(rows, self._layout.rows_per_object)
        self._objects[path] = ObjectDigest.of(data)
        while len(self._puts) >= OBJECTS_ON_THEIR_WAY:
            self._puts.popleft().result()
        self._puts.append(self._pool.submit(self._put, path, data))

    def _put(self, path: str, data: bytes) -> None:
        self._place.write(path, data)


def check_fits(rows: TargetRows, spec: TargetSpec) -> None:
    """Raise `CacheError` unless the rows have the spec's shapes and encoding, and variance where it does."""
    features = rows.features
    expected = _shape_words(spec.views, spec.patches, spec.dim, spec.encoding, spec.variance)
    found = _shape_words(rows.views.shape[1], *features.shape[1:], features.encoding, features.has_variance)
    if found != expected:
        raise CacheError("The rows do not fit the target spec", expected=expected, found=found)


def _shape_words(views: int, patches: int, dim: int, encoding: str, variance: bool) -> str:
    words = f"{views} views of {patches} patches with {dim} channels as {encoding}"
    return f"{words} with their variance" if variance else words


def _check_finite(name: str, rows: TargetRows) -> None:
    if bad := rows.features.non_finite_rows():
        raise NonFiniteError(
            f"{len(bad)} of {len(rows)} targets of the shard {name!r} are NaN or Inf; nothing was committed",
            expected="finite features",
            found=", ".join(f"{rows.keys[row]!r}, crop {rows.crops[row]}" for row in bad[:10]),
            remedy="leave these samples out, or run the teacher in float32",
        )
