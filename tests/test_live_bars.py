"""Bars: what is drawn of a stage. `tests/cli/test_progress.py` and `tests/flows` see them in a terminal."""

from phreg.live_bars import Bar
from phreg.progress import Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def drawn(bar: Bar, width: int = 60) -> list[str]:
    return [line.plain for line in bar.lines(width)]


def test_a_bar_grows_with_what_is_done_and_fills_the_line() -> None:
    time = Clock()
    bar = Bar("targets denoised", time)
    lengths = []
    for done in (0, 25, 50, 100):
        bar(Progress("", done, 100, head="0/3 shards"), 2.0, 10.0)
        first, second = drawn(bar)
        assert len(first) == 60
        assert second == f"  0/3 shards, {done} of 100 images, 2.0 images/s, 0:10 left"
        lengths.append(first.count("━"))
    assert lengths == sorted(set(lengths))
    assert (lengths[0], "─" in drawn(bar)[0]) == (0, False)
    time.now = 75.0
    assert drawn(bar)[0].endswith(" 100% 1:15")


def test_what_cannot_be_counted_has_no_bar_but_its_time() -> None:
    time = Clock()
    bar = Bar("evaluate-teacher", time)
    time.now = 9.0
    assert drawn(bar) == ["evaluate-teacher  0:09", "  "]
    bar(Progress("waiting for a worker"), None, None)
    assert drawn(bar) == ["evaluate-teacher  0:09", "  waiting for a worker"]


def test_a_narrow_terminal_still_has_a_bar() -> None:
    bar = Bar("a-name-of-thirty-letters-or-so", Clock())
    bar(Progress("", 1, 2), None, None)
    assert drawn(bar, 20)[0].startswith("a-name-of-thirty-letters-or-so ━━──")
