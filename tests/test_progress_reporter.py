"""Lines of progress: their words, and when they are said. The clock is the test's own."""

import threading

import pytest

from phreg.progress import Progress, tell
from phreg.progress_reporter import EVERY_S, REPEAT_S, ProgressReporter, clock, words


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress("loading the teacher"), "loading the teacher"),
        (Progress("measuring", 12, 64), "measuring 12 of 64 images, 3.0 images/s, 0:17 left"),
        (Progress("", 3, 9, head="0/1 shards"), "0/1 shards, 3 of 9 images, 3.0 images/s, 0:17 left"),
        (Progress("", 3, 9, estimated=True), "3 of about 9 images, 3.0 images/s, 0:17 left"),
        (Progress("step", 7, 9, "", note="loss 0.5"), "step 7/9, loss 0.5, 0:17 left"),
        (Progress("step", 9, 9, "", note="loss 0.5", final=True), "step 9/9, loss 0.5"),
    ],
)
def test_words(progress: Progress, line: str) -> None:
    assert words(progress, 3.0, 17.4) == line


def test_clock() -> None:
    assert (clock(9.6), clock(75), clock(3675)) == ("0:10", "1:15", "1:01:15")


def test_quick_work_passes_without_a_word_and_long_work_speaks_every_few_seconds(time: Clock) -> None:
    said: list[str] = []
    reporter = ProgressReporter(said.append, clock=time)
    reporter(Progress("measuring", 0, 100))
    time.now += EVERY_S / 2
    reporter(Progress("measuring", 10, 100))
    reporter.look()
    assert said == []
    time.now += EVERY_S / 2
    reporter.look()
    assert said == ["measuring 10 of 100 images, 2.0 images/s, 0:45 left"]
    reporter(Progress("measuring", 11, 100))
    reporter.look()
    assert len(said) == 1


def test_what_does_not_move_is_said_again_with_its_time(time: Clock) -> None:
    said: list[str] = []
    reporter = ProgressReporter(said.append, clock=time)
    reporter(Progress("waiting for a worker"))
    for _ in range(3):
        time.now += max(EVERY_S, REPEAT_S)
        reporter.look()
    assert said == [
        "waiting for a worker",
        "waiting for a worker, for 0:20",
        "waiting for a worker, for 0:30",
    ]


def test_an_eager_one_says_the_first_and_the_last_at_once(time: Clock) -> None:
    said: list[str] = []
    reporter = ProgressReporter(said.append, eager=True, clock=time)
    for done in (1, 2, 3):
        reporter(Progress("step", done, 3, "", final=done == 3))
    reporter(Progress("step", 3, 3, "", final=True))
    assert said == ["step 1/3", "step 3/3"]


def test_the_rate_of_other_work_is_not_counted(time: Clock) -> None:
    """Of a set that begins anew, or of what was done before it was first heard of."""
    said: list[str] = []
    reporter = ProgressReporter(said.append, clock=time)
    for what, done in (("reading", 50), ("reading", 90), ("segmenting", 40), ("segmenting", 50)):
        reporter(Progress(what, done, 100))
        time.now += EVERY_S
    reporter.look()
    assert said == ["segmenting 50 of 100 images, 1.0 images/s, 0:50 left"]


def test_it_speaks_while_its_block_waits_for_something_that_does_not_speak(
    monkeypatch: pytest.MonkeyPatch, time: Clock
) -> None:
    monkeypatch.setattr("phreg.progress_reporter._LOOK_S", 0.01)
    said, spoken = list[str](), threading.Event()

    def say(line: str) -> None:
        said.append(line)
        spoken.set()

    with ProgressReporter(say, clock=time):
        tell("starting Ray on this machine")
        time.now += EVERY_S
        assert spoken.wait(60)
    assert said == ["starting Ray on this machine"]
    tell("nobody hears this")
    time.now += REPEAT_S
    assert len(said) == 1
