"""The pool on a real Ray cluster of several nodes (all on this machine)."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from phreg.errors import GenerationError, ShardError
from phreg.execution.pool import Failure, OnError, PoolSettings, run_pool
from tests.execution.actors import Performer

QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head with 3 CPUs; tests add nodes with the resource `extra` and take them away."""
    head = {"num_cpus": 3, "include_dashboard": False, "_system_config": QUICK}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def maker(folder: Path, start: str = "", **options: Any) -> Callable[[], Any]:
    return lambda: ray.remote(Performer).options(**({"num_cpus": 1} | options)).remote(folder, start)


def settings(**changes: Any) -> PoolSettings:
    fields = {
        "min_actors": 1,
        "max_actors": 2,
        "max_attempts": 3,
        "start_timeout_s": 60.0,
        "resources": {"CPU": 1},
        "stall_timeout_s": 600.0,
    }
    return PoolSettings(**(fields | changes))


class Results(dict):
    """Name -> node; an item that is done twice is a mistake."""

    def __call__(self, item: Any, result: tuple[str, str]) -> None:
        assert item[0] == result[0]
        assert item[0] not in self
        self[item[0]] = result[1]


def attempts(folder: Path, name: str) -> int:
    return len(list(folder.glob(f"{name}.*")))


def test_all_items_are_done_once_by_all_actors(cluster: Cluster, tmp_path: Path) -> None:
    flag, results = tmp_path / "flag", Results()

    def on_result(item: Any, result: tuple[str, str]) -> None:
        results(item, result)
        flag.touch()

    items = [("first", "wait_for", flag), *((f"item{i}", "work") for i in range(40))]
    failures = run_pool(items, maker(tmp_path), settings(), on_result=on_result)
    assert not failures
    assert set(results) == {item[0] for item in items}
    pids = {path.read_text().split()[0] for path in tmp_path.glob("item*")} | {
        (tmp_path / "first.1").read_text().split()[0]
    }
    assert len(pids) == 2


def test_no_items_need_no_actors() -> None:
    def unwanted() -> Any:
        raise AssertionError

    assert run_pool([], unwanted, settings()) == []


@pytest.mark.parametrize("in_flight", [1, 2])
def test_a_killed_actor_costs_only_what_it_held(cluster: Cluster, tmp_path: Path, in_flight: int) -> None:
    results = Results()
    items = [("victim", "kill", 1), *((f"item{i}", "work", 0.02) for i in range(12))]
    options = {"max_concurrency": in_flight}
    failures = run_pool(items, maker(tmp_path, **options), settings(in_flight=in_flight), on_result=results)
    assert not failures
    assert set(results) == {item[0] for item in items}
    assert attempts(tmp_path, "victim") == 2
    assert sum(attempts(tmp_path, f"item{i}") for i in range(12)) <= 12 + (in_flight - 1)


def test_poison_is_given_up_by_name_and_the_others_go_on(cluster: Cluster, tmp_path: Path) -> None:
    results, told = Results(), []
    items = [("poison", "kill", 99), ("never", "fail", 99), ("twice", "fail", 2), ("good", "work")]
    failures = run_pool(items, maker(tmp_path), settings(), on_result=results, on_failure=told.append)
    assert set(results) == {"twice", "good"}
    found: dict[str, Failure[Any]] = {failure.item[0]: failure for failure in failures}
    assert set(found) == {"poison", "never"}
    assert [failure.attempts for failure in failures] == [3, 3]
    assert told == failures
    assert type(found["never"].error) is OSError  # as it was raised, not Ray's wrapping of it
    assert str(found["never"].error) == "attempt 3"
    assert isinstance(found["poison"].error, GenerationError)
    assert attempts(tmp_path, "poison") == 3


def test_an_actor_that_hangs_is_replaced_and_a_slow_one_is_not(cluster: Cluster, tmp_path: Path) -> None:
    results, options = Results(), {"max_concurrency": 2}
    items = [("hangs", "hang", 1), ("slow", "go_on", 8.0), *((f"item{i}", "work") for i in range(4))]
    changes = settings(stall_timeout_s=4.0)
    assert not run_pool(items, maker(tmp_path, **options), changes, on_result=results)
    assert set(results) == {item[0] for item in items}
    assert (attempts(tmp_path, "hangs"), attempts(tmp_path, "slow")) == (2, 1)

    items = [("hangs", "hang", 9)]
    changes = settings(stall_timeout_s=2.0, max_attempts=2)
    (failure,) = run_pool(items, maker(tmp_path / "again", **options), changes)
    assert "made no progress" in str(failure.error)


def test_the_judge_decides(cluster: Cluster, tmp_path: Path) -> None:
    def judge(error: Exception) -> OnError:
        assert type(error) in (ShardError, OSError)
        return OnError.GIVE_UP if isinstance(error, ShardError) else OnError.REPLACE

    results = Results()
    items = [("wrong", "wrong"), ("breaks", "fail", 1), ("good", "work")]
    failures = run_pool(items, maker(tmp_path), settings(max_actors=1), judge=judge, on_result=results)
    assert [failure.item[0] for failure in failures] == ["wrong"]
    assert attempts(tmp_path, "wrong") == 1
    pids = [(tmp_path / f"breaks.{i}").read_text().split()[0] for i in (1, 2)]
    assert pids[0] != pids[1]

    with pytest.raises(ShardError, match="cut short"):
        run_pool([("wrong", "wrong")], maker(tmp_path), settings(), judge=lambda error: OnError.STOP)


def test_too_few_actors_name_what_was_asked_and_what_there_is(cluster: Cluster, tmp_path: Path) -> None:
    asked = settings(min_actors=2, start_timeout_s=2.0, resources={"CPU": 64, "GPU": 1})
    items = [(f"item{i}", "work") for i in range(2)]
    with pytest.raises(GenerationError, match="64 CPU, 1 GPU") as caught:
        run_pool(items, maker(tmp_path, num_cpus=64), asked)
    assert "3 CPU, 0 GPU in the whole cluster" in str(caught.value)


@pytest.mark.parametrize("start", ["exit", "raise"])
def test_actors_that_die_as_they_start_end_the_run(
    cluster: Cluster, tmp_path: Path, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phreg.execution.pool.START_BACKOFF_S", 0.1)
    with pytest.raises(GenerationError, match="die as they start") as caught:
        run_pool([("item", "work")], maker(tmp_path, start), settings())
    if start == "raise":
        assert "no such device" in str(caught.value)


def test_an_interrupt_leaves_no_actor(cluster: Cluster, tmp_path: Path) -> None:
    def interrupt() -> None:
        while not list(tmp_path.glob("long.*")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    # A shell's background job starts with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_pool([("long", "work", 60), ("other", "work", 60)], maker(tmp_path), settings())
    pid = int((tmp_path / "long.1").read_text().split()[0])
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_a_node_that_joins_is_used_and_one_that_leaves_costs_only_its_items(
    cluster: Cluster, tmp_path: Path
) -> None:
    """One place on the first extra node; a second node joins mid-run; then the first one is removed."""
    first = cluster.add_node(num_cpus=1, resources={"extra": 1})
    first_id, results, joined = first.node_id, Results(), []
    release = tmp_path / "release"

    def on_result(item: Any, result: tuple[str, str]) -> None:
        results(item, result)
        if len(results) == 1:
            joined.append(cluster.add_node(num_cpus=1, resources={"extra": 1}))
        if result[1] != first_id and not release.exists() and first in cluster.worker_nodes:
            cluster.remove_node(first)
            release.touch()

    items = [(f"item{i}", "work", 0.3) for i in range(8)] + [("stuck", "wait_for", release)]
    items = [items[0], items[-1], *items[1:-1]]
    failures = run_pool(
        items, maker(tmp_path, resources={"extra": 1}), settings(max_attempts=3), on_result=on_result
    )
    assert not failures
    assert set(results) == {item[0] for item in items}
    assert results["item0"] == first_id
    assert results["stuck"] == joined[0].node_id
    assert release.exists()
    assert attempts(tmp_path, "stuck") == 2
    for node in joined:
        cluster.remove_node(node)
