"""Noticing that a cluster's head is gone."""

import socket
from collections.abc import Iterator

import pytest

from phreg.errors import ClusterError
from phreg.execution import head
from phreg.execution.cluster import connect


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with connect("local"):
        yield


def test_a_head_that_is_there_is_looked_for_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    answers = head.answers
    monkeypatch.setattr(head, "answers", lambda address: looks.append(address) or answers(address))
    clock = Clock()
    watch = head.HeadWatch(clock)
    for _ in range(100):
        assert watch.check()
        clock.now += 0.1
    assert len(looks) == 5
    watch.wait()


def test_one_that_comes_back_in_time_is_the_same_and_one_that_does_not_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = True
    monkeypatch.setattr(head, "answers", lambda address: answer)
    clock = Clock()
    watch = head.HeadWatch(clock)
    assert watch.check()
    answer, clock.now = False, head.PATIENCE_S
    assert not watch.check()
    answer = True
    assert watch.check()
    answer, clock.now = False, 2 * head.PATIENCE_S
    assert not watch.check()
    clock.now += 1
    with pytest.raises(ClusterError, match="head of the Ray cluster is gone"):
        watch.check()


def test_an_answer_is_a_listening_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert head.answers(f"127.0.0.1:{port}")
    assert not head.answers(f"127.0.0.1:{port}")
