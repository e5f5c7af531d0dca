"""Noticing that a cluster's head, or this machine's own node, is gone."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from phreg.errors import ClusterError
from phreg.execution import watch
from phreg.execution.cluster import connect


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Answers:
    """Notes who was asked; of nodes and head, the one that is `gone` does not answer."""

    gone = ""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, place: str) -> bool:
        self.asked.append("node" if place.startswith("/") else "head")
        return self.asked[-1] != self.gone


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with connect("local"):
        yield


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    found = Answers()
    monkeypatch.setattr(watch, "answers", found)
    return found


def test_a_cluster_that_is_there_is_looked_at_now_and_then() -> None:
    clock = Clock()
    looking = watch.ClusterWatch(clock)
    for _ in range(100):
        assert looking.check()
        clock.now += 0.1
    looking.wait()


def test_looks_are_rare(answers: Answers) -> None:
    clock = Clock()
    looking = watch.ClusterWatch(clock)
    for _ in range(100):
        assert looking.check()
        clock.now += 0.1
    assert answers.asked == ["head", "node"] * 2


def test_a_head_that_comes_back_in_time_is_the_same_and_one_that_does_not_is_given_up(
    answers: Answers,
) -> None:
    clock = Clock()
    looking = watch.ClusterWatch(clock)
    assert looking.check()
    answers.gone, clock.now = "head", watch.PATIENCE_S
    assert not looking.check()
    answers.gone = ""
    assert looking.check()
    answers.gone, clock.now = "head", 2 * watch.PATIENCE_S
    assert not looking.check()
    clock.now += 1
    with pytest.raises(ClusterError, match="head of the Ray cluster is gone"):
        looking.check()
    assert watch.PATIENCE_S <= 45  # after 60 s Ray ends the process


def test_a_node_that_is_gone_is_gone_for_good(answers: Answers) -> None:
    looking = watch.ClusterWatch(Clock())
    answers.gone = "node"
    with pytest.raises(ClusterError, match="own Ray node is gone"):
        looking.check()


def test_an_answer_is_something_that_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert watch.answers(f"127.0.0.1:{port}")
    assert not watch.answers(f"127.0.0.1:{port}")
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert watch.answers(path)
    assert not watch.answers(path)
