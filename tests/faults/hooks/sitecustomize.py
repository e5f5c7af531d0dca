"""Runs at the start of every Python process that has this folder on its PYTHONPATH: failpoints, if asked for.

It stands alone (no phreg, no tests) and costs a process without the variable nothing. What it does is
described in `tests/faults/failpoints.py`, which writes its plan.
"""

import fcntl
import functools
import importlib
import importlib.abc
import importlib.util
import inspect
import json
import os
import signal
import sys
import time
from pathlib import Path

PLAN = os.environ.get("PHREG_FAILPOINTS", "")


def points_of(module):
    """The plan's points in a module, read as it is imported: later plans serve later processes."""
    try:
        plan = json.loads(Path(PLAN).read_text())
    except FileNotFoundError:
        return []
    return [point for point in plan if point["function"].partition(":")[0] == module]


class Finder(importlib.abc.MetaPathFinder):
    """Lets the usual finders find a module of the plan, and wraps its functions once it has run."""

    def __init__(self):
        self._busy = set()

    def find_spec(self, name, path=None, target=None):
        if not name.startswith("phreg") or name in self._busy or not points_of(name):
            return None
        self._busy.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._busy.discard(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (run(module), wrap_all(module))[0]
        return spec


def wrap_all(module):
    by_function = {}
    for point in points_of(module.__name__):
        by_function.setdefault(point["function"], []).append(point)
    for function, points in by_function.items():
        *owners, name = function.partition(":")[2].split(".")
        owner = functools.reduce(getattr, owners, module)
        setattr(owner, name, wrapped(inspect.getattr_static(owner, name), function, points))


def wrapped(original, function, points):
    signature = inspect.signature(original)
    label = next((point["label"] for point in points if point["label"]), "")

    @functools.wraps(original)
    def call(*args, **kwargs):
        what = label_of(signature.bind(*args, **kwargs).arguments, label) if label else ""
        due = [p for p, count in zip(points, note(function, what, points), strict=True) if is_due(p, count)]
        for point in (p for p in due if p["when"] == "before"):
            act(point)
        result = original(*args, **kwargs)
        for point in (p for p in due if p["when"] == "after"):
            act(point)
        return result

    return call


def label_of(arguments, label):
    """The values of the arguments (`shard.name self`), with spaces between."""
    paths = [part.split(".") for part in label.split()]
    return " ".join(str(functools.reduce(getattr, rest, arguments[first])) for first, *rest in paths)


def note(function, label, points):
    """Write the pass down; for each point, the number of passes that matched it, over all processes.

    0 where this one does not match. The lock makes the numbers unique, and so what happens at one of them.
    """
    passed = f"{function}\t{os.getpid()}\t{label}\n"
    with Path(PLAN).with_name("passes").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        before = [line for line in file if line.startswith(f"{function}\t")] if needs_counts(points) else []
        file.write(passed)
    return [count(point, [*before, passed]) if point["match"] in label else 0 for point in points]


def needs_counts(points):
    return any(point["action"] != "note" for point in points)


def count(point, passes):
    return sum(point["match"] in line.rstrip("\n").split("\t", 2)[2] for line in passes)


def is_due(point, count):
    return point["action"] != "note" and point["call"] <= count < point["call"] + point["times"]


def act(point):
    """Mark it (O_EXCL: a second process at the same pass would be a mistake of ours), then do it."""
    here = Path(PLAN).parent
    for number in range(point["times"]):
        marker = here / f"{point['name']}.{number}"
        try:
            with marker.open("x") as file:
                file.write(str(os.getpid()))
            break
        except FileExistsError:
            continue
    else:
        raise AssertionError(f"{point['name']} happened more often than planned")
    globals()[f"do_{point['action']}"](here, point)


def do_kill(here, point):
    os.kill(os.getpid(), signal.SIGKILL)


def do_stop(here, point):
    os.kill(os.getpid(), signal.SIGSTOP)


def do_hold(here, point):
    while not (here / f"{point['name']}.release").exists():
        time.sleep(0.02)


def do_raise(here, point):
    module, _, name = point["error"].partition(":")
    raise getattr(importlib.import_module(module), name)(point["problem"])


if PLAN:
    sys.meta_path.insert(0, Finder())
