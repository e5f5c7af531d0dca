"""Does every node see what the driver sees? Asked before work starts, where a run's paths are local paths.

A local path may name another disk on each machine; then nodes would make what nobody finds again. So the
driver writes a token into each folder that is written, every node must see it, and the driver what the node
answers. Of what is only read, nodes must have the names that the driver has.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from phreg.errors import ConfigError, ObjectNotFoundError, StorageError
from phreg.execution.capacity import may_grow
from phreg.execution.node_look import look_function, remove_function
from phreg.progress import tell
from phreg.stopping import check_stop
from phreg.storage import TEMPORARY_PREFIX, Folder, local_path

PATIENCE_S = 5.0  # for what another machine wrote to arrive: NFS looks again after some seconds
ANSWER_S = 120.0  # for a node to start a worker and answer; one that does not is asked by the work itself
SHOWN = 5

_proven: dict[str, frozenset[str]] = {}  # by node: what it was seen to share with this process


@dataclass(frozen=True)
class RunPaths:
    """Local folders that work writes into, and local files and folders that it reads. All absolute."""

    written: tuple[str, ...] = ()
    read: tuple[str, ...] = ()

    @staticmethod
    def of(written: Iterable[str] = (), read: Iterable[str | None] = ()) -> "RunPaths":
        """From URLs and paths. What lies in object stores is left out, and so is what is None."""
        paths = [local_path(place) for place in written], [local_path(place) for place in read if place]
        return RunPaths(*(tuple(dict.fromkeys(path for path in some if path)) for some in paths))


NOTHING = RunPaths()


@dataclass(frozen=True)
class Answer:
    """Of a node: what it does not see, by path, and why."""

    node: str
    label: str
    problems: Mapping[str, str]


@dataclass(frozen=True)
class Claim:
    """What the driver sees. Picklable: nodes answer it.

    `token`: name and content of a file in each folder of `written`. `read`: names in folders."""

    token: str
    written: tuple[str, ...]
    read: Mapping[str, tuple[str, ...]]

    @property
    def paths(self) -> frozenset[str]:
        names = (os.path.join(folder, name) for folder in self.read for name in self.read[folder])
        return frozenset(names) | {f"{folder}/" for folder in self.written}

    def reply(self, node: str) -> str:
        return f"{self.token}-{node[:16]}"

    def answer(self) -> Answer:
        """In a process on a node, for the driver to `take`."""
        node = ray.get_runtime_context().get_node_id()
        problems = look_function()(self.token, self.written, self.read, self.reply(node), PATIENCE_S)
        return Answer(node, socket.gethostname(), problems)

    def check_here(self) -> None:
        """In a process on a node: raise `ConfigError` unless it sees the driver's paths."""
        answer = self.answer()
        remove_function()(self.written, self.reply(answer.node))
        if answer.problems:
            raise _unseen([answer])

    def take(self, *answers: Answer) -> None:
        """In the driver: raise `ConfigError` unless these nodes see its places, and it sees their answers."""
        found = [self._both_ways(answer) for answer in answers]
        if any(answer.problems for answer in found):
            raise _unseen(found)
        for answer in found:
            _proven[answer.node] = _proven.get(answer.node, frozenset()) | self.paths

    def _both_ways(self, answer: Answer) -> Answer:
        unseen = [f for f in self.written if f not in answer.problems and not self._arrived(f, answer.node)]
        if unseen:
            removed = _run_on(answer.node, remove_function(), unseen, self.reply(answer.node))
            ray.wait([removed], timeout=PATIENCE_S)
        reason = "what it writes there is not seen by the driver"
        return Answer(answer.node, answer.label, {**answer.problems, **dict.fromkeys(unseen, reason)})

    def _arrived(self, folder: str, node: str) -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(ObjectNotFoundError):
                arrived = Folder(folder).read(self.reply(node)) == self.token.encode()
                Folder(folder).remove(self.reply(node))
                return arrived
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)


@contextmanager
def naming_the_node() -> Iterator[None]:
    """In a process on a node: what a store refuses is told with the node, whose credentials may be others;
    and so is what the node lacks."""
    try:
        yield
    except (StorageError, ConfigError) as error:
        found = f"{error.found} (on the node {socket.gethostname()})".strip()
        raise type(error)(error.problem, error.expected, found, error.remedy) from error


@contextmanager
def claimed(paths: RunPaths, kinds: Sequence[Mapping[str, float]]) -> Iterator[Claim | None]:
    """Have each node that can hold one of these `kinds` of resources prove that it sees the paths.

    For the `with` block there is a claim for nodes that join later; none where none can, or nothing is local.
    Raises `ConfigError` that names node and path.
    """
    if not may_grow() or not (paths.written or paths.read):
        yield None
        return
    claim = Claim(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}", paths.written, _names(paths.read))
    try:
        for folder in claim.written:
            Folder(folder).write(claim.token, claim.token.encode())
        claim.take(*_answers(claim, kinds))
        yield claim
    finally:
        for folder in claim.written:
            Folder(folder).remove(claim.token)


def _names(paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Folders, and names in them that are there: of a file its own, of a folder all that it holds."""
    wanted: dict[str, set[str]] = {}
    for path in paths:
        if os.path.isdir(path):
            wanted.setdefault(path, set()).update(os.listdir(path))
        else:
            wanted.setdefault(os.path.dirname(path), set()).add(os.path.basename(path))
    there = {
        folder: names & set(os.listdir(folder)) for folder, names in wanted.items() if os.path.isdir(folder)
    }
    return {folder: tuple(sorted(names)) for folder, names in there.items() if names}


def _answers(claim: Claim, kinds: Sequence[Mapping[str, float]]) -> list[Answer]:
    """Of all nodes that could do some of the work and have not yet proved as much."""
    nodes = {
        node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in ray.nodes()
        if node["Alive"]
        and any(_holds(node["Resources"], kind) for kind in kinds)
        and not claim.paths <= _proven.get(node["NodeID"], frozenset())
    }
    if nodes:
        tell("asking the nodes whether they see the files of this run")
    arguments = claim.token, claim.written, claim.read
    asked = {
        node: _run_on(node, look_function(), *arguments, claim.reply(node), PATIENCE_S) for node in nodes
    }
    deadline, owed = time.monotonic() + ANSWER_S, list(asked.values())
    while owed and time.monotonic() < deadline:
        check_stop()
        owed = ray.wait(owed, num_returns=len(owed), timeout=1.0)[1]
    answers = []
    for node, reference in asked.items():
        with suppress(RayError):  # it is gone, or busy
            answers.append(Answer(node, nodes[node], ray.get(reference, timeout=0)))
    return answers


def _holds(node: Mapping[str, float], kind: Mapping[str, float]) -> bool:
    return all(node.get(name, 0) >= each for name, each in kind.items())


def _run_on(node: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """A reference to what the function gives on that node, however busy it is."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
    return ray.remote(function).options(**options).remote(*arguments)


def _unseen(answers: Sequence[Answer]) -> ConfigError:
    found = [f"{path} on the node {a.label}: {why}" for a in answers for path, why in a.problems.items()]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return ConfigError(
        "Nodes of the Ray cluster do not see the files of this run",
        expected=f"at these paths, on every node that works for it, what {socket.gethostname()} sees there",
        found="".join(f"\n    {line}" for line in [*found[:SHOWN], *more]),
        remedy="mount one file system at these paths on all machines, or give s3:// URLs instead",
    )
