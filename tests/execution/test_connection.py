"""A run's one connection: when it is made, and when it ends. What connects is a stand-in."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from phreg.errors import ConfigError, StorageError
from phreg.execution.connection import connected_when_needed, kept


class StandIn:
    """Notes when it is connected, and fails as often as it is told."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.notes = list(errors), list[str]()

    @contextmanager
    def connected(self) -> Iterator[None]:
        if self.errors:
            raise self.errors.pop(0)
        self.notes.append("connected")
        try:
            yield
        finally:
            self.notes.append("ended")


def open_kept(ray: StandIn) -> None:
    connection = kept()
    assert connection is not None
    connection.open(ray.connected)


def test_it_is_made_once_when_needed_and_ends_with_the_block() -> None:
    ray = StandIn()
    with connected_when_needed(lambda: ray.notes.append("checked")) as connection:
        assert not ray.notes
        open_kept(ray)
        open_kept(ray)
        assert ray.notes == ["connected", "checked"]
    assert ray.notes == ["connected", "checked", "ended"]
    assert connection.error is None
    assert kept() is None


def test_a_mistake_is_not_tried_again_and_what_may_pass_is() -> None:
    away, refused = StorageError("it does not answer"), ConfigError("no such cluster")
    ray = StandIn(away, refused)
    with connected_when_needed() as connection:
        with pytest.raises(StorageError):
            open_kept(ray)
        for _ in range(2):
            with pytest.raises(ConfigError) as caught:
                open_kept(ray)
        assert caught.value is connection.error is refused
    ray = StandIn(away)
    with connected_when_needed() as connection:
        with pytest.raises(StorageError):
            open_kept(ray)
        open_kept(ray)
        assert connection.error is None


def test_a_check_that_fails_disconnects() -> None:
    ray, unseen = StandIn(), ConfigError("nodes do not see the files")

    def check() -> None:
        open_kept(ray)  # a check may connect, too
        raise unseen

    with connected_when_needed(check) as connection:
        with pytest.raises(ConfigError):
            open_kept(ray)
        assert ray.notes == ["connected", "ended"]
        assert connection.error is unseen
