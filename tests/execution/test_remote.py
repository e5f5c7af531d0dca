"""Single functions as Ray tasks."""

import ctypes
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from phreg.errors import ConfigError, PhregError, ShardError
from phreg.execution.cluster import connect
from phreg.execution.progress_actor import ProgressChannel, progress_actor
from phreg.execution.remote import ATTEMPTS, run_remote
from phreg.progress import Progress, heard_by, tell, under


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with connect("local"):
        yield


def add(a: int, b: int) -> tuple[int, int]:
    return a + b, os.getpid()


def threads() -> int:
    import torch

    return torch.get_num_threads()


def refuse(attempts: Path) -> None:
    attempts.write_text(attempts.read_text() + "x" if attempts.exists() else "x")
    raise ShardError("cut short", "all", "half", "pack it again")


def die(attempts: Path, times: int) -> str:
    done = len(attempts.read_text()) if attempts.exists() else 0
    attempts.write_text("x" * (done + 1))
    if done < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def test_a_function_runs_in_another_process_with_the_threads_it_asked_for() -> None:
    total, pid = run_remote(add, 1, 2)
    assert total == 3
    assert pid != os.getpid()
    assert run_remote(threads, num_cpus=2) == 2


def test_its_own_error_comes_back_as_it_was_raised_and_is_not_retried(tmp_path: Path) -> None:
    with pytest.raises(ShardError) as caught:
        run_remote(refuse, tmp_path / "attempts")
    assert type(caught.value) is ShardError
    assert caught.value.remedy == "pack it again"
    assert (tmp_path / "attempts").read_text() == "x"


def test_a_worker_that_dies_is_replaced_a_bounded_number_of_times(tmp_path: Path) -> None:
    assert run_remote(die, tmp_path / "once", 1) == "alive"
    with pytest.raises(PhregError, match="workers that ran die died"):
        run_remote(die, tmp_path / "always", 99)
    assert len((tmp_path / "always").read_text()) == ATTEMPTS


def test_what_fits_nowhere_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="add"):
        run_remote(add, 1, 2, num_cpus=10_000)


class Cancelled(BaseException):
    """As Prefect's ways of ending a task: no Exception, no KeyboardInterrupt."""


def stay(pid: Path) -> None:
    pid.write_text(str(os.getpid()))
    time.sleep(600)


def test_whatever_interrupts_the_caller_ends_the_task(tmp_path: Path) -> None:
    caller = ctypes.c_ulong(threading.get_ident())

    def interrupt() -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.02)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(caller, ctypes.py_object(Cancelled))

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Cancelled):
        run_remote(stay, tmp_path / "pid")
    pid, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def count(until: Path) -> int:
    done = 0
    with under("a set"):
        while not until.exists():
            tell("counting", done := done + 1, 10**6)
            time.sleep(0.05)
    return done


def test_what_it_tells_is_heard_by_who_listens_here(tmp_path: Path) -> None:
    """It goes on until two messages were heard, so these cannot have come with its result."""
    heard: list[Progress] = []

    def listen(progress: Progress) -> None:
        heard.append(progress)
        if len({each.done for each in heard}) > 2:
            (tmp_path / "enough").touch()

    with heard_by(listen):
        counted = run_remote(count, tmp_path / "enough")
    assert heard[0] == Progress("waiting for a worker")
    assert {progress.head for progress in heard[1:]} == {"a set"}
    assert [progress.done for progress in heard] == sorted(progress.done for progress in heard)
    assert heard[-1].done <= counted


def test_the_progress_actor_outlives_the_channel_that_started_it() -> None:
    """Ray ends an actor with the first of its handles, and a training that runs then lost its own."""
    first, second, news = ProgressChannel(), ProgressChannel(), Progress("counting", 3, 3, final=True)
    first.sender(news)
    first.close()
    del first
    gc.collect()
    time.sleep(1)  # Ray's own time to end it
    second.sender(news)
    assert second.last() == news


def test_a_lost_progress_actor_stops_nobody(tmp_path: Path) -> None:
    heard: list[Progress] = []
    ray.kill(progress_actor(), no_restart=False)
    with heard_by(heard.append):
        assert run_remote(add, 1, 2)[0] == 3
        ray.kill(progress_actor())
        assert run_remote(add, 1, 2)[0] == 3
