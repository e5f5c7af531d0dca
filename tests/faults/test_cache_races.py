"""Several processes at one cache: writers of the same shards, gc, and verify --heal."""

import json
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from phreg.cache import TargetStore, collect_garbage, verify
from phreg.cache.store import COMMIT_ATTEMPTS
from phreg.cli import main
from phreg.errors import CacheError, CorruptTargetsError
from phreg.storage import Folder
from tests.cache.examples import assert_equal_rows
from tests.faults.caches import digests
from tests.faults.flips import flip
from tests.faults.ledger import trial
from tests.faults.s3_proxy import S3Proxy
from tests.faults.scene import SHARDS, Scene, attempts, make_scene
from tests.faults.training import PATIENCE_S, PROCESSES

WRITERS = 4


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"))


class Crew:
    """Processes that run one of the functions below, begin together, and leave a JSON each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.members = folder, list[Any]()
        self.start, self.stop = PROCESSES.Event(), PROCESSES.Event()

    def add(self, work: Callable[..., Any], *arguments: object) -> None:
        environment = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
        out = str(self.folder / f"{len(self.members)}.json")
        options = (environment, self.start, self.stop, out, work, arguments)
        self.members.append(PROCESSES.Process(target=_member, args=options, daemon=True))
        self.members[-1].start()

    def join(self, *members: int) -> list[Any]:
        """What they came to."""
        for index in members:
            self.members[index].join(PATIENCE_S)
            assert self.members[index].exitcode == 0, f"member {index}: {self.members[index].exitcode}"
        return [json.loads((self.folder / f"{index}.json").read_text()) for index in members]


def _member(environment: dict, start: Any, stop: Any, out: str, work: Any, arguments: tuple) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    assert start.wait(PATIENCE_S)
    Path(out).write_text(json.dumps(work(stop, *arguments)))


def _write(_: Any, scene: Scene, cache: Folder) -> dict[str, bool]:
    """All shards, in an order of its own: {shard: reused}."""
    urls = random.Random(os.getpid()).sample(scene.urls, SHARDS)
    return {report.shard: report.reused for report in scene.generate(cache, urls)}


def _write_on(stop: Any, scene: Scene, cache: Folder) -> int:
    """Again and again, as if the same run were given again: how many shards were made."""
    made = 0
    while not stop.is_set():
        made += sum(not reused for reused in _write(stop, scene, cache).values())
        time.sleep(0.01)
    return made


def _collect(stop: Any, cache: Folder) -> list[str]:
    """`gc` with its grace period, without end."""
    removed: list[str] = []
    while not stop.is_set():
        removed += collect_garbage(cache).removed
    return removed


@pytest.fixture(params=["file", "s3"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return request.getfixturevalue("s3_folder") if request.param == "s3" else Folder(str(tmp_path / "cache"))


def test_many_writers_of_the_same_shards(scene: Scene, cache: Folder, tmp_path: Path) -> None:
    """And a gc all the while."""
    with trial("races", f"{WRITERS} runs at once, and gc ({'disk' if cache.is_local else 'S3'})") as this:
        crew = Crew(tmp_path)
        for _ in range(WRITERS):
            crew.add(_write, scene, cache)
        crew.add(_collect, cache)
        crew.start.set()
        reports = crew.join(*range(WRITERS))
        crew.stop.set()
        assert crew.join(WRITERS) == [[]]
        assert all(len(report) == SHARDS for report in reports)
        assert digests(cache) == scene.expected
        this.repeated = attempts(cache) - SHARDS  # what several had in flight at once
        assert this.repeated <= SHARDS * (WRITERS - 1)
        assert len(collect_garbage(cache, grace_seconds=-60).removed) == this.repeated
        assert attempts(cache) == SHARDS
        assert digests(cache) == scene.expected


def test_gc_between_data_and_record(scene: Scene, proxied_folder: Folder, s3_proxy: S3Proxy) -> None:
    """With its grace period it leaves a writer's data alone; without, that is found and healed."""
    cache = proxied_folder / "cache"
    store = scene.world.with_cache(cache).store
    hold = s3_proxy.hold("PUT", r"shards/s-0[.]json")
    writer = threading.Thread(target=scene.generate, args=(cache, scene.urls[:1]))
    with trial("races", "gc between data and record"):
        writer.start()
        hold.wait()
        report = collect_garbage(cache)
        assert report.removed == ()
        assert len(report.kept_young) == 1
        hold.release()
        writer.join(PATIENCE_S)
        assert verify(store).ok
    hold = s3_proxy.hold("PUT", r"shards/s-1[.]json")
    writer = threading.Thread(target=scene.generate, args=(cache, scene.urls[:2]))
    with trial("races", "gc without grace between data and record") as this:
        this.rerun = True
        writer.start()
        hold.wait()
        assert len(collect_garbage(cache, grace_seconds=-60).removed) == 1
        hold.release()
        writer.join(PATIENCE_S)
        with pytest.raises(CorruptTargetsError, match="s-1"):
            store.read("s-1")
        assert main(["cache", "verify", cache.url, "--heal"]) == 1
        reports = scene.generate(cache, scene.urls)
        assert [report.reused for report in reports] == [True, False, False, False]
        this.repeated = 1
        assert digests(cache) == scene.expected


def test_heal_while_runs_go_on(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shards are damaged, found and discarded while two runs make what is missing."""
    cache, rounds = Folder(str(tmp_path / "cache")), 12
    with trial("races", "verify --heal while two runs go on") as this:
        crew = Crew(tmp_path)
        crew.add(_write_on, scene, cache)
        crew.add(_write_on, scene, cache)
        crew.start.set()
        store, damaged = scene.world.with_cache(cache).store, 0
        for seed in range(rounds):
            _until(lambda: len(store.shards()) == SHARDS)
            record = store.record(f"s-{seed % SHARDS}")
            if record is not None:
                flip(store.folder, f"{record.folder}/features/c/0/0/0", seed)
                damaged += 1
            assert main(["cache", "verify", cache.url, "--heal"]) == 1
            assert record is None or record.shard in capsys.readouterr().out
        _until(lambda: len(store.shards()) == SHARDS)
        crew.stop.set()
        made = sum(crew.join(0, 1))
        assert digests(cache) == scene.expected
        assert main(["cache", "verify", cache.url]) == 0
        this.repeated = max(0, made - SHARDS - damaged)
        assert this.repeated <= SHARDS + damaged  # both had it in flight


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("times", [1, 99])
def test_a_writer_meets_a_record_that_is_discarded(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Its create fails, then the winner's record goes: it commits its own, unless that has no end."""
    store: TargetStore = scene.world.with_cache(Folder(str(tmp_path / "cache"))).store
    rows, record = scene.world.store.read("s-0"), scene.world.store.record("s-0")
    assert record is not None
    create, met = Folder.create, []

    def create_second(folder: Folder, path: str, data: bytes) -> bool:
        if len(met) == times:
            return create(folder, path, data)
        met.append(path)
        assert create(folder, path, record.to_json())
        first = create(folder, path, data)
        store.discard("s-0")
        return first

    monkeypatch.setattr(Folder, "create", create_second)
    if times == 1:
        mine = store.commit("s-0", record.shard_digest, rows)
        assert mine.attempt != record.attempt
        assert store.record("s-0") == mine
        assert_equal_rows(store.read("s-0"), rows)
    else:
        with pytest.raises(CacheError, match="came and went"):
            store.commit("s-0", record.shard_digest, rows)
        assert len(met) == COMMIT_ATTEMPTS
        assert store.record("s-0") is None
