"""`TargetGenerator`: one shard to its committed targets. A plain class; Ray actors hold one each."""

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from threading import Lock

import torch

from phreg.cache import CommitRecord, TargetSpec, TargetStore
from phreg.data import Shard, read_shard, shard_name
from phreg.errors import ConfigError, CorruptTargetsError, NonFiniteError
from phreg.generate.crops import Crop, read_crops
from phreg.generate.progress import CropCounter, GeneratorProgress, ShardProgress
from phreg.generate.report import ShardReport, shard_report
from phreg.generate.rows import EncodedBatch, RowStream
from phreg.generate.spec import check_teacher
from phreg.generate.teacher import Targets, compute_targets
from phreg.models import Backbone
from phreg.progress import Listener, Progress, heard_by
from phreg.storage import version_of
from phreg.types import Quarantined

OUT_OF_MEMORY_TRIES, OUT_OF_MEMORY_WAIT_S = 3, 20.0  # of one image alone, in a row

logger = logging.getLogger(__name__)


class TargetGenerator:
    """Makes targets of one spec. May be called from several threads.

    The device works on one batch at a time; decoding, encoding and writing go on beside it, and a second
    thread may bring a second shard.
    """

    def __init__(
        self,
        load_teacher: Callable[[], Backbone],
        store: TargetStore,
        device: str = "cpu",
        images_per_forward: int = 8,
        decode_threads: int = 1,
    ) -> None:
        self._load_teacher, self._store, self._device = load_teacher, store, device
        self._batch, self._decode_threads = images_per_forward, decode_threads
        self._teacher: Backbone | None = None
        self._lock = Lock()
        self._patience = OUT_OF_MEMORY_TRIES
        self._at_work: list[ShardProgress] = []
        self._steps = 0  # grows with each shard read and image computed: a sign of life

    @property
    def spec(self) -> TargetSpec:
        return self._store.spec

    def progress(self) -> GeneratorProgress:
        """How far it is by now. May be called from any thread."""
        return GeneratorProgress(self._steps, tuple(map(replace, self._at_work)))

    def generate(self, url: str) -> ShardReport:
        """Make and commit a shard's targets, or find them committed: then the teacher is not even loaded.

        Samples that cannot be decoded, or whose features cannot be stored, are quarantined by key; a commit
        record that is damaged is removed, and the shard made anew. Raises `ShardError`,
        `ContentMismatchError`, `SpecMismatchError` (another teacher), `StorageError`; nothing is committed
        then.
        """
        progress = ShardProgress(url)
        self._at_work.append(progress)
        try:
            return self._generate(url, progress)
        finally:
            self._at_work.remove(progress)

    def _generate(self, url: str, progress: ShardProgress) -> ShardReport:
        start = time.perf_counter()
        version = version_of(url)  # before it is read: what changes in between is noticed the next time
        record, damage = self._sound_record(shard_name(url))
        self._steps += 1
        if record is None or version is None or record.source != version:
            shard = read_shard(url)
            self._steps += 1
            record = self._store.check_content(shard.name, shard.digest)
        reused, passes = record is not None, 0
        if record is None:
            record, passes = self._make(shard, version, progress)
        return shard_report(
            record,
            url,
            self.spec.crops_per_image,
            reused=reused,
            forward_passes=passes,
            seconds=time.perf_counter() - start,
            damage="" if reused else damage,
        )

    def _sound_record(self, name: str) -> tuple[CommitRecord | None, str]:
        """A shard's commit record; if it was damaged, how, and the one that another run made since."""
        try:
            return self._store.record(name), ""
        except CorruptTargetsError as error:
            self._store.discard_damaged(name, None)
            return self._store.record(name), str(error)

    def _make(self, shard: Shard, version: str | None, progress: ShardProgress) -> tuple[CommitRecord, int]:
        """Targets of all samples, committed, and the number of forward passes."""
        passes, progress.total, progress.doing = 0, len(shard.samples), "computing"
        counter, store = CropCounter(progress, self.spec.crops_per_image), self._store
        with store.writer(shard.name) as writer, RowStream(self.spec, writer) as rows:
            samples = read_crops(self.spec, shard, 2 * self._batch, self._decode_threads)
            with contextlib.closing(samples), heard_by(self._counted_by(counter)):
                for crops in _batches(_usable(samples, rows, counter), self._batch):
                    passes += self._add(crops, rows, counter)
            progress.doing = "writing"
            quarantined = [*shard.quarantined, *rows.finish()]
            return store.commit_written(writer, shard.name, shard.digest, quarantined, version), passes

    def _counted_by(self, counter: CropCounter) -> Listener:
        def heard(progress: Progress) -> None:
            self._steps += 1
            counter(progress)

        return heard

    def _add(self, crops: Sequence[Crop], rows: RowStream, counter: CropCounter) -> int:
        """Compute crops, in parts if need be; gives the number of forward passes.

        If something in them is NaN or Inf, one by one, to find out in which sample.
        """
        if len(crops) > self._batch:
            return self._add_parts(crops, self._batch, rows, counter)
        self._steps += 1
        passes, wait = len(crops) * self.spec.denoised_by.forward_passes, 0.0
        try:
            rows.add(crops, self._computed(crops))
            self._patience = OUT_OF_MEMORY_TRIES
            counter.finished(len(crops))
            return passes
        except NonFiniteError as error:
            if len(crops) == 1:
                rows.leave_out(crops[0].key, error.problem)
                counter.finished(1)
                return passes
            size = 1
        except torch.OutOfMemoryError as error:
            wait = self._make_room(len(crops), error)
            passes, size = 0, self._batch
        time.sleep(wait)  # here the error is gone, and with it what it held on the GPU
        return passes + self._add_parts(crops, size, rows, counter)

    def _computed(self, crops: Sequence[Crop]) -> Targets | EncodedBatch:
        """The device's part, for one batch at a time: nothing the host does later keeps it waiting."""
        with self._lock:
            targets = compute_targets(self._loaded(), self.spec, crops)
            cuda = targets.features.is_cuda
            return EncodedBatch.start(targets, self.spec.encoding) if cuda else targets

    def _add_parts(self, crops: Sequence[Crop], size: int, rows: RowStream, counter: CropCounter) -> int:
        return sum(self._add(part, rows, counter) for part in _batches(crops, size))

    def _make_room(self, crops: int, error: torch.OutOfMemoryError) -> float:
        """Halve what the GPU is to hold at once, from now on. One image is tried again: others may use it.

        Gives the seconds to wait. Raises `ConfigError` if one image was too much too often.
        """
        found = str(error).splitlines()[0][:300]
        if crops > 1:
            self._batch = crops // 2
            logger.warning("too little GPU memory for %d images, now %d: %s", crops, self._batch, found)
            return 0.0
        self._patience -= 1
        if self._patience < 0:
            raise ConfigError(
                f"The GPU has too little memory for one image with {self.spec.views} views",
                found=found,
                remedy="see what else runs on it, or give an actor all of it (generation.gpus_per_actor)",
            ) from None
        return OUT_OF_MEMORY_WAIT_S

    def _loaded(self) -> Backbone:
        """The teacher, once loaded and found to be the spec's."""
        if self._teacher is None:
            teacher = self._load_teacher()
            check_teacher(teacher, self.spec)
            self._teacher = teacher.on(self._device)
        return self._teacher


def _usable(
    samples: Iterable[list[Crop] | Quarantined], rows: RowStream, counter: CropCounter
) -> Iterator[Crop]:
    for sample in samples:
        if isinstance(sample, Quarantined):
            rows.leave_out(sample.key, sample.reason)
            counter.left_out()
        else:
            yield from sample


def _batches(crops: Iterable[Crop], size: int) -> Iterator[list[Crop]]:
    iterator = iter(crops)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
