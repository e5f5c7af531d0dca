"""How far the work is: told by whoever does it, heard by whoever shows it, if anybody does.

Code that works calls `tell`. Whoever wants to know listens around the call, in the same thread. Between
processes Ray's side carries the messages (`execution/progress_actor.py`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """`what` is being done, and `done` of `total` things of it; a total of 0: it cannot be counted.

    `rate` (things per second) and `remaining` (seconds) where the teller knows better than whoever listens.
    `head` and `note` are words to stand before and after the numbers. `estimated`: the total is. `final`:
    nothing comes after this.
    """

    what: str
    done: int = 0
    total: int = 0
    things: str = "images"
    rate: float | None = None
    remaining: float | None = None
    head: str = ""
    note: str = ""
    estimated: bool = False
    final: bool = False

    def headed(self, head: str) -> "Progress":
        return replace(self, head=f"{head}, {self.head}" if self.head else head)


Listener = Callable[[Progress], None]
_listener: ContextVar[Listener | None] = ContextVar("phreg_progress", default=None)
_subject: ContextVar[Mapping[str, str]] = ContextVar("phreg_subject", default={})  # noqa: B039 (not changed)


def tell(what: str, done: int = 0, total: int = 0, things: str = "images") -> None:
    """Say how far the work is. Cheap where nobody listens."""
    pass_on(Progress(what, done, total, things))


def pass_on(progress: Progress) -> None:
    listener = _listener.get()
    if listener is not None:
        listener(progress)


def current_listener() -> Listener | None:
    return _listener.get()


@contextmanager
def under(head: str) -> Iterator[None]:
    """For a `with` block: what is told inside begins with these words."""
    outer = _listener.get()
    with heard_by(outer and (lambda progress: outer(progress.headed(head)))):
        yield


@contextmanager
def heard_by(listener: Listener | None) -> Iterator[None]:
    """For a `with` block in this thread: the listener hears what is told, and those around it do not."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def about(**names: str) -> Iterator[None]:
    """For a `with` block: what the work inside is of, such as `run="photos", targets="denoised"`."""
    token = _subject.set({**_subject.get(), **names})
    try:
        yield
    finally:
        _subject.reset(token)


def work_name(kind: str) -> str:
    """A name for a piece of the work that this thread does, such as `targets:photos:denoised`."""
    return ":".join([kind, *_subject.get().values()])


def subject() -> Mapping[str, str]:
    """What the work of this thread is of, as far as whoever asked for it said."""
    return _subject.get()
