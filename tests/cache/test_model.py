"""The cache against a plain dictionary, by hypothesis: any order of what writers, readers, `gc`, `verify` and
`rm` do, each cut off between any two requests to the store, as by SIGKILL."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache as once
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)
from hypothesis.stateful import run_state_machine_as_test as run

from phreg.cache import Cache, CommitRecord, TargetRows, TargetStore, collect_garbage, remove_spec, verify
from phreg.errors import CacheError, ContentMismatchError, CorruptTargetsError, MissingTargetsError
from phreg.storage import Folder
from tests.cache.examples import assert_equal_rows, make_rows, make_spec

HOUR = 3600.0
SHARDS = ("a", "a-000000000000")  # names that begin alike
_numbers = itertools.count()


class Crash(BaseException):
    """The process is gone: nothing catches it, and nothing is tidied up."""


class Requests:
    """Counts all requests to the store; after `left` of them there are no more."""

    def __init__(self) -> None:
        self.left: float = float("inf")
        self._lock = threading.Lock()  # they are sent from several threads

    def one(self) -> None:
        with self._lock:
            if self.left <= 0:
                raise Crash
            self.left -= 1

    @contextmanager
    def at_most(self, number: float | None) -> Iterator[None]:
        self.left = float("inf") if number is None else number
        try:
            yield
        finally:
            self.left = float("inf")


requests = Requests()


@dataclass
class Committed:
    """What the dictionary holds of a shard. `lost`: bytes of it are damaged; `unreadable`: its record is."""

    content: int
    record: CommitRecord
    lost: bool = False
    unreadable: bool = False

    @property
    def attempt(self) -> str | None:
        return None if self.unreadable else self.record.attempt


@dataclass
class OneSpec:
    store: TargetStore
    shards: dict[str, Committed] = field(default_factory=dict)

    def pick(self, number: int) -> tuple[str, Committed]:
        """One of those that are committed."""
        return sorted(self.shards.items())[number % len(self.shards)]

    def damaged(self) -> dict[str, str | None]:
        return {name: it.attempt for name, it in self.shards.items() if it.lost or it.unreadable}

    def there(self, shard: str) -> bool:
        return self.store.folder.exists(f"shards/{shard}.json")


class Written(NamedTuple):
    """A writer that has put all its data, and not yet committed it."""

    spec: int
    record: CommitRecord

    def finish(self, *_: Any) -> CommitRecord:
        return self.record


@once
def rows_of(content: int) -> TargetRows:
    return make_rows(2, seed=content)


def digest_of(content: int) -> str:
    return str(content) * 64


shards, contents, numbers = st.sampled_from(SHARDS), st.integers(0, 1), st.integers(0, 99)
specs = st.sampled_from((0, 0, 0, 1))
crashes = st.none() | st.integers(0, 30)


class CacheMachine(RuleBasedStateMachine):
    written = Bundle("written")
    reports = Bundle("reports")

    def __init__(self) -> None:
        super().__init__()
        self.cache = Folder(f"memory://model-{next(_numbers)}")
        self.specs = [OneSpec(TargetStore.create(self.cache, make_spec(seed=seed))) for seed in range(2)]
        self.waiting: list[Written] = []

    @rule(spec=specs, shard=shards, content=contents, crash=crashes)
    def commit(self, spec: int, shard: str, content: int, crash: int | None) -> None:
        store = self.specs[spec].store
        with self.commits(spec, shard, content), requests.at_most(crash):
            found = store.commit(shard, digest_of(content), rows_of(content))
            assert found.shard == shard

    @rule(spec=specs, content=contents)
    def commit_all(self, spec: int, content: int) -> None:
        for shard in SHARDS:
            self.commit(spec, shard, content, None)

    @rule(target=written, spec=specs, shard=shards, content=contents)
    def write(self, spec: int, shard: str, content: int) -> Written:
        with self.specs[spec].store.writer(shard) as writer:
            writer.add(rows_of(content))
            self.waiting.append(Written(spec, writer.finish(digest_of(content))))
        return self.waiting[-1]

    @rule(one=consumes(written), crash=crashes)
    def commit_written(self, one: Written, crash: int | None) -> None:
        """Beside whatever another writer has committed since."""
        self.waiting.remove(one)
        content = int(one.record.shard_digest[0])
        with self.commits(one.spec, one.record.shard, content), requests.at_most(crash):
            self.specs[one.spec].store.commit_written(one, one.record.shard, one.record.shard_digest)  # type: ignore[arg-type]

    @contextmanager
    def commits(self, spec: int, shard: str, content: int) -> Iterator[None]:
        """The first wins; what is there stays; a crash leaves one or nothing."""
        own, before = self.specs[spec], self.specs[spec].shards.get(shard)
        try:
            yield
        except Crash:
            pass
        except CorruptTargetsError:
            assert before is not None
            assert before.unreadable
        except ContentMismatchError:
            assert before is not None
            assert before.content != content
        else:
            assert own.there(shard)
            assert before is None or (before.content == content and not before.unreadable)
        if before is not None and before.unreadable:
            return
        record = own.store.record(shard)
        if before is not None:
            assert record == before.record
        elif record is not None:
            assert record.shard_digest == digest_of(content)
            own.shards[shard] = Committed(content, record)

    @rule(spec=specs, shard=shards)
    def read(self, spec: int, shard: str) -> None:
        own = self.specs[spec]
        held = own.shards.get(shard)
        if held is None:
            with pytest.raises(MissingTargetsError):
                own.store.read(shard)
        elif held.lost or held.unreadable:
            with pytest.raises(CorruptTargetsError) as caught:
                own.store.read(shard)
            damage = caught.value.damage
            assert damage is not None
            assert (damage.shard, damage.attempt) == (shard, held.attempt)
        else:
            assert_equal_rows(own.store.read(shard, digest_of(held.content)), rows_of(held.content))

    @precondition(lambda self: any(own.shards for own in self.specs))
    @rule(spec=specs, shard=numbers, which=numbers, gone=st.booleans())
    def damage(self, spec: int, shard: int, which: int, gone: bool) -> None:
        own = self.specs[spec] if self.specs[spec].shards else self.specs[1 - spec]
        _, held = own.pick(shard)
        objects = sorted(held.record.objects)
        self._spoil(own.store.folder, f"{held.record.folder}/{objects[which % len(objects)]}", gone)
        held.lost = True

    @precondition(lambda self: self.specs[0].shards)
    @rule(shard=numbers)
    def damage_record(self, shard: int) -> None:
        own = self.specs[0]
        name, held = own.pick(shard)
        if not held.unreadable:
            self._spoil(own.store.folder, f"shards/{name}.json", gone=False)
            held.unreadable = True

    def _spoil(self, folder: Folder, path: str, gone: bool) -> None:
        if gone or not folder.exists(path):
            folder.remove(path)
        else:
            data = folder.read(path)
            folder.write(path, data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])

    @rule(target=reports, spec=specs)
    def verify(self, spec: int) -> Any:
        own = self.specs[spec]
        report = verify(own.store)
        assert report.damaged == own.damaged()
        assert report.shards == sum(not held.unreadable for held in own.shards.values())
        return (spec, report.damaged) if report.damaged else multiple()

    @rule(report=reports, late=st.booleans(), crash=crashes)
    def heal(self, report: tuple[int, dict[str, str | None]], late: bool, crash: int | None) -> None:
        """By a report that may be old, or `late`: another run met the damage first. What it made stays."""
        own, found = self.specs[report[0]], report[1]
        for name in found if late else ():
            own.store.discard(name)
            own.shards.pop(name, None)
            self.commit(report[0], name, 0, None)
        stale = {
            name
            for name, attempt in found.items()
            if name not in own.shards or own.shards[name].attempt != attempt
        }
        try:
            with requests.at_most(crash):
                for name, attempt in found.items():
                    assert own.store.discard_damaged(name, attempt) == (name not in stale)
        except Crash:
            pass
        else:
            assert not any(own.there(name) for name in found.keys() - stale)
        self._forget(own, found.keys() - stale)

    def _forget(self, own: OneSpec, names: Any) -> None:
        """Of these shards, what is gone from the store."""
        for name in names:
            if name in own.shards and not own.there(name):
                del own.shards[name]

    @rule(old=st.booleans(), crash=crashes)
    def garbage(self, old: bool, crash: int | None) -> None:
        """Whatever is at work is younger than the grace period."""
        later = time.time() + 2 * HOUR * (old and not self.waiting)
        dry = collect_garbage(self.cache, HOUR, dry_run=True, now=later)
        try:
            with requests.at_most(crash):
                assert collect_garbage(self.cache, HOUR, now=later) == dry
        except Crash:
            return
        if not old or self.waiting:
            assert dry.removed == ()
            return
        for own in self.specs:
            left = {item.path.split("/")[1] for item in own.store.folder.list("data")}
            named = {held.record.folder.split("/")[1] for held in own.shards.values() if not held.unreadable}
            unreadable = {name for name, held in own.shards.items() if held.unreadable}
            assert named <= left
            assert {attempt[:-13] for attempt in left - named} <= unreadable

    @rule(spec=specs, crash=crashes)
    def remove(self, spec: int, crash: int | None) -> None:
        """Not while an attempt is young; cut off, what is left of it is whole, or no more committed."""
        own = self.specs[spec]
        if any(one.spec == spec for one in self.waiting):
            with pytest.raises(CacheError, match="somebody seems to work on them"):
                remove_spec(self.cache, own.store.digest)
            return
        try:
            with requests.at_most(crash):
                gone = remove_spec(self.cache, own.store.digest, now=time.time() + 2 * HOUR)
        except Crash:
            self._forget(own, list(own.shards))
        else:
            assert gone.shards == len(own.shards)
            assert own.store.folder.list() == []
            own.shards = {}
        TargetStore.create(self.cache, own.store.spec)  # as the next run does

    @invariant()
    def lists_what_is_committed(self) -> None:
        assert Cache(self.cache).digests() == sorted(own.store.digest for own in self.specs)
        for own in self.specs:
            assert own.store.shards() == sorted(own.shards)

    def teardown(self) -> None:
        for spec, shard in itertools.product(range(2), SHARDS):
            self.read(spec, shard)
        for own in self.specs:
            self.cache.remove_all(own.store.digest)


def test_any_order_of_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Folder._explained

    def counted(self: Folder, action: str, path: str) -> Any:
        requests.one()
        return real(self, action, path)

    monkeypatch.setattr(Folder, "_explained", counted)
    run(
        CacheMachine,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
