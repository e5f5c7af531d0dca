"""How far the making of targets is: what actors say while they work, and the reports of what they made."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from phreg.data import shard_name
from phreg.execution.pool import PoolNews
from phreg.execution.work import Failure
from phreg.generate import ShardProgress, ShardReport
from phreg.progress import Progress


@dataclass(frozen=True)
class TargetsProgress:
    """Shards `done` of `total`; `images` made so far of `images_to_make`, and their rate so far; `remaining`
    in seconds. Of shards that nobody has opened yet the images are `estimated`. `doing`: what goes on, where
    no image is being computed. `quarantined`: samples of the shards done. `bytes`: committed by this run.
    `waited`: seconds in which nobody was at work, since actors had to start.
    """

    done: int
    total: int
    images: int
    images_per_second: float
    remaining: float
    images_to_make: int = 0
    estimated: bool = False
    doing: str = ""
    quarantined: int = 0
    bytes: int = 0
    waited: float = 0.0

    def as_progress(self) -> Progress:
        """In the words that all progress is shown in."""
        final, counted = self.done == self.total, self.images > 0
        return Progress(
            "" if counted else "all reused" if final else self.doing,
            self.images,
            self.images_to_make if counted else 0,
            rate=self.images_per_second,
            remaining=self.remaining if self.remaining else None,
            head=f"{self.done}/{self.total} shards",
            note=self.doing if counted else "",
            estimated=self.estimated,
            final=final,
        )


OnProgress = Callable[[TargetsProgress], None]


class Tally:
    """Collects reports, and tells how far the run is: of all images, also those within a shard.

    `committed`: names of shards that are there already. `reused`: reports of those of them that need no look.
    """

    def __init__(
        self,
        urls: Sequence[str],
        committed: set[str],
        tell: OnProgress,
        clock: Callable[[], float] = time.monotonic,
        reused: Mapping[str, ShardReport] | None = None,
    ) -> None:
        self.reports: dict[str, ShardReport] = dict(reused or {})
        self._made = self._images = self._bytes = 0  # shards made here, and what is in these
        self._quarantined = sum(len(report.quarantined) for report in self.reports.values())
        self._waited, self._waits, self._looked = 0.0, False, clock()
        self._tell, self._clock = tell, clock
        self._total, self._failed = len(urls), set[str]()
        self._to_make = sum(shard_name(url) not in committed for url in urls)
        self._news = PoolNews(0, ())
        self._start: float | None = None
        self._end = 0.0

    @property
    def seconds(self) -> float:
        """From the first image's start to the last shard's end; not the wait for actors."""
        return self._end - self._start if self._start is not None else 0.0

    def made(self, url: str, report: ShardReport) -> None:
        self.reports[url] = report
        self._quarantined += len(report.quarantined)
        if not report.reused:
            self._made += 1
            self._images += report.images
            self._bytes += report.bytes
            self._end = self._clock()
            began = self._end - report.seconds
            self._start = began if self._start is None else min(self._start, began)
        self._tell(self._progress())

    def failed(self, failure: Failure[str]) -> None:
        self._failed.add(failure.item)
        self._tell(self._progress())

    def look(self, news: PoolNews) -> None:
        """What the pool sees now. Nothing is told if it is what was told before, but how long it waits."""
        now, before = self._clock(), self._waited
        if self._waits:
            self._waited += now - self._looked
        same, self._news, self._looked = news == self._news, news, now
        self._waits = bool(news.starting and not self._at_work())
        if same and self._waited == before:
            return
        if self._start is None and any(shard.doing == "computing" for shard in self._at_work()):
            self._start = self._clock()
        self._tell(self._progress())

    def _at_work(self) -> list[ShardProgress]:
        """Shards at work. What an actor said last may be of one that is done since."""
        shards = [shard for said in self._news.said for shard in said.shards]
        return [s for s in shards if s.url not in self.reports and s.url not in self._failed]

    def _progress(self) -> TargetsProgress:
        at_work = self._at_work()
        images = self._images + sum(shard.images for shard in at_work)
        opened = [shard.total for shard in at_work if shard.total]
        shards, known = self._made + len(opened), self._images + sum(opened)
        unknown = max(self._to_make - shards - len(self._failed), 0)
        to_make = known + round(unknown * known / shards) if shards else 0
        done, seconds = len(self.reports) + len(self._failed), 0.0
        if self._start is not None:
            seconds = max(self._clock() - self._start, 1e-9)
        rate = images / seconds if seconds else 0.0
        remaining = max(to_make - images, 0) / rate if rate and done < self._total else 0.0
        return TargetsProgress(
            done, self._total, images, rate, remaining, to_make, bool(unknown), self._doing(at_work),
            self._quarantined, self._bytes, self._waited,
        )  # fmt: skip

    def _doing(self, at_work: Sequence[ShardProgress]) -> str:
        """Something for all moments in which no image is done."""
        if not at_work and self._news.starting:
            count = self._news.starting
            return f"waiting for {count} actor{'s' if count > 1 else ''} to start"
        if not at_work or any(shard.doing == "computing" for shard in at_work):
            return ""
        return f"{at_work[0].doing} ({shard_name(at_work[0].url)})"
