"""An elastic pool of Ray actors that take items one by one, and may die.

The driver's loop owns attempts and replacements; Ray retries nothing. A dead actor, or its node, costs the
items it held: they are tried again elsewhere. What an actor returns should be small.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from phreg.errors import GenerationError
from phreg.execution.capacity import resource_words
from phreg.execution.stall import StallDetector
from phreg.execution.watch import ClusterWatch
from phreg.execution.work import Failure, Work
from phreg.stopping import check_stop

Item = TypeVar("Item")
POLL_S = 1.0  # between looks at the clock; results are taken at once
START_ROUNDS = 3  # of asking for actors that all died as they started
START_BACKOFF_S = 2.0  # after the first such round; doubles, up to a minute


class OnError(Enum):
    """What an item's exception means."""

    RETRY = "it may pass"
    REPLACE = "it may have broken the actor: retry on a new one"
    GIVE_UP = "the item fails, now and later"
    STOP = "every item would fail: the pool ends and raises it"


@dataclass(frozen=True)
class PoolSettings:
    """`resources` are those of an actor, for messages. The pool waits `start_timeout_s` for `min_actors`.

    An actor at work without progress for `stall_timeout_s` is replaced: see `StallDetector`."""

    min_actors: int
    max_actors: int
    max_attempts: int
    start_timeout_s: float
    resources: Mapping[str, float]
    stall_timeout_s: float
    in_flight: int = 1


@dataclass(frozen=True)
class PoolNews:
    """`starting`: actors that were asked for. `said`: what those at work answer to `actor.progress()`."""

    starting: int
    said: tuple[Any, ...]


def run_pool(
    items: Sequence[Item],
    make_actor: Callable[[], Any],
    settings: PoolSettings,
    *,
    judge: Callable[[Exception], OnError] = lambda error: OnError.RETRY,
    on_result: Callable[[Item, Any], None] = lambda item, result: None,
    on_failure: Callable[[Failure[Item]], None] = lambda failure: None,
    on_look: Callable[[PoolNews], None] = lambda news: None,
    greet: Callable[[Any], Any] = lambda actor: actor.__ray_ready__.remote(),
    on_ready: Callable[[Any], None] = lambda greeting: None,
) -> list[Failure[Item]]:
    """Have `actor.process(item)` done for every item, in any order; gives the items given up.

    `make_actor` asks for an actor, without waiting; those the cluster has no room for yet are used once it
    has. An actor is ready once the reference that `greet` gives is there; `on_ready` gets what it stands for.
    `judge` sees the exception as the actor raised it. The callbacks run in the calling thread; `on_look`
    about once a second. However this ends, all its actors are killed. Raises `GenerationError` if actors
    cannot be had, `ClusterError` if the cluster is lost, and what `judge` calls STOP.
    """
    work = Work(items, settings.max_attempts)
    pool = _Pool(work, make_actor, settings, judge, on_result, on_failure, on_look, greet, on_ready)
    try:
        pool.run()
    finally:
        pool.close()
    return pool.work.failures


def original(error: Exception) -> Exception:
    """The exception a task or actor raised, out of what Ray wraps it in."""
    while isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    return error


@dataclass(eq=False)
class _Member:
    """An actor, and what it owes: its being ready, then results by reference."""

    actor: Any
    starting: Any
    stall: StallDetector
    held: dict[Any, int] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.starting is None

    @property
    def references(self) -> list[Any]:
        return list(self.held) if self.ready else [self.starting]


@dataclass
class _Pool(Generic[Item]):
    work: Work[Item]
    make_actor: Callable[[], Any]
    settings: PoolSettings
    judge: Callable[[Exception], OnError]
    on_result: Callable[[Item, Any], None]
    on_failure: Callable[[Failure[Item]], None]
    on_look: Callable[[PoolNews], None]
    greet: Callable[[Any], Any]
    on_ready: Callable[[Any], None]
    members: list[_Member] = field(default_factory=list)
    cluster: ClusterWatch = field(default_factory=ClusterWatch)
    failed_rounds: int = 0
    failed_start: str = ""
    ask_after: float = 0.0
    enough_at: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        while self.work.unfinished:
            check_stop()
            if self.cluster.check():
                self._resize()
                self._check_enough()
            self._feed()
            self._replace_stopped()
            self.on_look(self._news())
            owed = {reference: member for member in self.members for reference in member.references}
            if not owed:
                time.sleep(POLL_S / 10)
                continue
            for reference in ray.wait(list(owed), timeout=POLL_S)[0]:  # one at most
                self._take(owed[reference], reference)

    def _news(self) -> PoolNews:
        said = (m.stall.said for m in self.members if m.held and m.stall.said is not None)
        return PoolNews(sum(not m.ready for m in self.members), tuple(said))

    def close(self) -> None:
        for member in list(self.members):
            self._kill(member)

    def _resize(self) -> None:
        """No more actors than unfinished items: an idle one could get nothing any more."""
        surplus = len(self.members) - self.work.unfinished
        idle = sorted((m for m in self.members if not m.held), key=lambda m: m.ready)  # first those starting
        for member in idle[: max(surplus, 0)]:
            self._kill(member)
        if time.monotonic() < self.ask_after:
            return
        for _ in range(min(self.settings.max_actors, self.work.unfinished) - len(self.members)):
            actor = self.make_actor()
            stall = StallDetector(actor, self.settings.stall_timeout_s)
            self.members.append(_Member(actor, self.greet(actor), stall))

    def _feed(self) -> None:
        """An item for each actor before a second one for any."""
        for filled in range(self.settings.in_flight):
            for member in self.members:
                if not member.ready or len(member.held) != filled:
                    continue
                index = self.work.next(list(member.held.values()))
                if index is not None:
                    member.held[member.actor.process.remote(self.work.items[index])] = index

    def _replace_stopped(self) -> None:
        """Its items go to others. Should it wake up after all, it does no harm: two may do the same."""
        for member in [m for m in self.members if m.ready and m.stall.stalled(busy=bool(m.held))]:
            self._kill(member)
            with self._reporting():
                self.work.lost(list(member.held.values()), _stall(self.settings.stall_timeout_s))

    def _take(self, member: _Member, reference: Any) -> None:
        try:
            result = ray.get(reference)
        except RayTaskError as error:
            self._raised(member, reference, original(error))
        except RayError as error:  # all others: actor, node or connection is gone
            self._lost(member, error)
        else:
            if not member.ready:
                self.on_ready(result)
                member.starting, self.failed_rounds = None, 0
                return
            index = member.held.pop(reference)
            self.work.done()
            self.on_result(self.work.items[index], result)

    def _raised(self, member: _Member, reference: Any, error: Exception) -> None:
        verdict = self.judge(error)
        if verdict is OnError.STOP:
            raise error
        if not member.ready:
            self._lost(member, error)
            return
        index = member.held.pop(reference)
        with self._reporting():
            self.work.failed(index, error, final=verdict is OnError.GIVE_UP)
            if verdict is OnError.REPLACE:
                self._kill(member)
                self.work.given_back(list(member.held.values()))

    def _lost(self, member: _Member, error: Exception) -> None:
        """It may still run, if only the connection is gone: it is killed, its items go to others."""
        self._kill(member)
        reason = " ".join(str(error).split())[:500]
        if not member.ready:
            self._failed_to_start(reason)
            return
        with self._reporting():
            self.work.lost(list(member.held.values()), _death(reason))

    def _failed_to_start(self, reason: str) -> None:
        """Ask for no more for a while; those that die meanwhile are of the same round."""
        self.failed_start, now = reason, time.monotonic()
        if now >= self.ask_after:
            self.ask_after = now + min(START_BACKOFF_S * 2**self.failed_rounds, 60.0)
            self.failed_rounds += 1

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        known = len(self.work.failures)
        yield
        for failure in self.work.failures[known:]:
            self.on_failure(failure)

    def _kill(self, member: _Member) -> None:
        self.members.remove(member)
        with suppress(RayError, ValueError):
            ray.kill(member.actor)

    def _check_enough(self) -> None:
        """Enough actors must be there, or come in time; also later, when nodes have gone."""
        ready = sum(member.ready for member in self.members)
        if not self.members and self.failed_rounds >= START_ROUNDS:
            raise GenerationError(
                "Actors die as they start",
                found=f"{self.failed_rounds} times in a row, last: {self.failed_start}",
                remedy="see the log files of Ray's workers; the nodes need the same phreg and enough memory",
            )
        if ready >= min(self.settings.min_actors, self.work.unfinished):
            self.enough_at = time.monotonic()
        elif time.monotonic() - self.enough_at > self.settings.start_timeout_s:
            raise self._too_few(ready)

    def _too_few(self, ready: int) -> GenerationError:
        return GenerationError(
            f"The cluster gave {ready} of {self.settings.min_actors} actors "
            f"within {self.settings.start_timeout_s:g} s",
            expected=f"room for {self.settings.min_actors} x {resource_words(self.settings.resources)}",
            found=f"{resource_words(ray.cluster_resources())} in the whole cluster, "
            f"{resource_words(ray.available_resources())} of it free",
            remedy="ask for less (generation.min_actors, cpus_per_actor, gpus_per_actor), add nodes, or wait "
            "longer (generation.start_timeout_s)",
        )


def _stall(seconds: float) -> GenerationError:
    return GenerationError(
        "The actor made no progress while working on it",
        found=f"none for {seconds:g} s",
        remedy="see what its process waits for (storage, the GPU); raise generation.stall_timeout_s if it "
        "is only slow",
    )


def _death(reason: str) -> GenerationError:
    return GenerationError(
        "The actor died while working on it",
        found=reason,
        remedy="if other items pass, this one may need more memory than an actor has",
    )
