"""How far target generation says it is, within shards too. The clock is the test's own."""

from dataclasses import replace
from typing import Any

import pytest

from phreg.errors import ShardError
from phreg.execution.pool import PoolNews
from phreg.execution.tally import Tally, TargetsProgress
from phreg.execution.work import Failure
from phreg.generate import GeneratorProgress, ShardProgress, ShardReport
from phreg.progress_reporter import words
from phreg.types import Quarantined

URLS = ["a.tar", "b.tar", "c.tar"]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[TargetsProgress]:
    return []


def report(url: str, images: int = 10, reused: bool = False, seconds: float = 5.0) -> ShardReport:
    return ShardReport(url[0], url, reused, images, images, 0 if reused else images, (), 0, seconds)


def at_work(*shards: ShardProgress) -> PoolNews:
    return PoolNews(0, tuple(GeneratorProgress(i, (shard,)) for i, shard in enumerate(shards)))


def line(progress: TargetsProgress) -> str:
    shown = progress.as_progress()
    return words(shown, shown.rate, shown.remaining)


def test_images_are_told_within_a_shard_and_the_rest_is_estimated(
    clock: Clock, told: list[TargetsProgress]
) -> None:
    tally = Tally(URLS, set(), told.append, clock)
    tally.look(at_work(ShardProgress("a.tar", "computing", 0, 30)))
    clock.now += 10
    tally.look(at_work(ShardProgress("a.tar", "computing", 5, 30)))
    assert (told[-1].done, told[-1].images, told[-1].images_per_second) == (0, 5, 0.5)
    assert (told[-1].images_to_make, told[-1].estimated, told[-1].remaining) == (90, True, 170.0)
    assert line(told[-1]) == "0/3 shards, 5 of about 90 images, 0.5 images/s, 2:50 left"


def test_what_an_actor_said_before_its_shard_was_done_does_not_count_twice(
    clock: Clock, told: list[TargetsProgress]
) -> None:
    tally = Tally(URLS, {"b", "c"}, told.append, clock)
    tally.look(at_work(ShardProgress("a.tar", "computing", 9, 10)))
    clock.now += 5
    tally.made("a.tar", report("a.tar"))
    assert (told[-1].images, told[-1].images_to_make, told[-1].estimated) == (10, 10, False)
    for url in URLS[1:]:
        tally.made(url, report(url, reused=True))
    assert line(told[-1]) == "3/3 shards, 10 of 10 images, 2.0 images/s"
    assert told[-1].as_progress().final


def test_a_lost_actor_s_images_are_to_be_made_again(clock: Clock, told: list[TargetsProgress]) -> None:
    tally = Tally(["a.tar"], set(), told.append, clock)
    tally.look(at_work(ShardProgress("a.tar", "computing", 9, 10)))
    tally.look(PoolNews(1, ()))
    assert (told[-1].images, told[-1].doing) == (0, "waiting for 1 actor to start")


def test_waits_are_told_as_such_and_nothing_twice(clock: Clock, told: list[TargetsProgress]) -> None:
    tally = Tally(URLS, set(), told.append, clock)
    for news in (
        PoolNews(2, ()),
        PoolNews(2, ()),
        at_work(ShardProgress("a.tar")),
        at_work(ShardProgress("a.tar", "loading the teacher", 0, 10)),
    ):
        tally.look(news)
    assert [line(each) for each in told] == [
        "0/3 shards, waiting for 2 actors to start",
        "0/3 shards, reading (a)",
        "0/3 shards, loading the teacher (a)",
    ]


def test_seconds_are_those_of_the_work_not_of_the_wait_for_actors(clock: Clock) -> None:
    tally = Tally(URLS, {"a"}, lambda progress: None, clock)
    clock.now += 60
    tally.made("a.tar", report("a.tar", reused=True))
    assert tally.seconds == 0
    clock.now += 60
    tally.made("b.tar", report("b.tar", seconds=5.0))
    tally.look(at_work(ShardProgress("c.tar", "computing", 0, 10)))
    clock.now += 7
    tally.made("c.tar", report("c.tar", seconds=7.0))
    clock.now += 60
    assert tally.seconds == 12


def test_all_reused_or_failed(clock: Clock, told: list[TargetsProgress]) -> None:
    tally = Tally(URLS[:2], {"a"}, told.append, clock)
    tally.made("a.tar", report("a.tar", reused=True))
    tally.failed(Failure("b.tar", ShardError("cut short"), 1))
    assert (told[-1].done, told[-1].images, told[-1].remaining) == (2, 0, 0.0)
    assert line(told[-1]).startswith("2/2 shards")


def test_a_shard_costs_the_same_however_many_were_made_before(told: list[TargetsProgress]) -> None:
    class Unseen(dict[str, ShardReport]):
        def values(self) -> Any:
            raise AssertionError("all reports were looked at again")

        __iter__ = items = values

    tally = Tally(URLS, set(), told.append)
    tally.reports = Unseen()
    tally.made("a.tar", report("a.tar", 10))
    tally.made("b.tar", report("b.tar", 20))
    assert (told[-1].images, told[-1].images_to_make, told[-1].estimated) == (30, 45, True)


def test_what_is_only_counted_is_told_too(clock: Clock, told: list[TargetsProgress]) -> None:
    bad = Quarantined("x", "no image")
    tally = Tally(URLS, set(), told.append, clock, {"c.tar": replace(report("c.tar"), quarantined=(bad,))})
    for news in (PoolNews(2, ()), PoolNews(2, ())):  # nothing new, but that it still waits
        tally.look(news)
        clock.now += 3
    tally.look(at_work(ShardProgress("a.tar", "computing", 0, 30)))
    clock.now += 3
    tally.made("a.tar", replace(report("a.tar"), quarantined=(bad, bad), bytes=70))
    assert [each.waited for each in told] == [0, 3, 6, 6]
    assert (told[-1].quarantined, told[-1].bytes) == (3, 70)
