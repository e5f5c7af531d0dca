"""Progress artifacts: what is sent, without a server."""

import threading
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from flows import progress_artifact as module
from flows.progress_artifact import progress_artifact
from phreg.distill.progress import StudentProgress
from phreg.progress import Progress


class Server:
    """Takes updates, or refuses them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[float, str]] = []
        self.asked, self.error = threading.Event(), False
        monkeypatch.setattr(module, "EVERY_S", 0.01)
        monkeypatch.setattr(module, "create_progress_artifact", self.create)
        monkeypatch.setattr(module, "update_progress_artifact", self.update)

    def create(self, progress: float, **named: Any) -> UUID:
        if self.error:
            raise httpx.ConnectError("no server")
        return uuid4()

    def update(self, artifact: UUID, progress: float, description: str) -> None:
        self.asked.set()
        if self.error:
            raise httpx.ConnectError("no server")
        self.sent.append((progress, description))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


def test_the_share_is_that_of_the_whole_stage(server: Server) -> None:
    with progress_artifact("a") as show:
        show(Progress("starting a training worker"), None, None)
        show(StudentProgress(3, 4, 0.5, 10.0, 2.0).as_progress(), None, 2.0)
        show(Progress("validating", 1, 8, "crops"), None, None)
        while not server.sent:
            pass
        assert server.sent[-1] == (75.0, "validating 1 of 8 crops")
    assert server.sent[-1] == (100.0, "validating 1 of 8 crops")


def test_a_stage_that_fails_is_not_shown_as_done(server: Server) -> None:
    def fail() -> None:
        with progress_artifact("a") as show:
            show(Progress("", 1, 4, remaining=1.0), None, 1.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert server.sent[-1] == (25.0, "1 of 4 images, 0:01 left")


def test_a_server_that_does_not_answer_stops_nothing(server: Server) -> None:
    with progress_artifact("a") as show:
        server.error = True
        show(Progress("", 1, 4, remaining=1.0), None, 1.0)
        assert server.asked.wait(60)
    with progress_artifact("b") as show:
        show(Progress("", 1, 4, remaining=1.0), None, 1.0)
    assert server.sent == []
