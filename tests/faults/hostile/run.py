"""Runs cases in a process of its own, within bounds of time and memory; one JSON line a case.

python -m tests.faults.hostile.run FOLDER SKIP
"""

import faulthandler
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import phreg
from phreg.config.run import load_config
from phreg.data import count_samples, decode_image, expand_urls, read_shard
from phreg.errors import PhregError, SampleError, ShardError
from phreg.models import load_backbone
from tests.faults.hostile import CASES
from tests.faults.hostile.case import Case

MEMORY = 2 << 30  # bytes beyond what the process has once all is imported
SECONDS = 90  # a case, on a machine with much else to do

Outcome = tuple[str, str]


def image(path: Path) -> Outcome:
    try:
        found = decode_image(path.read_bytes())
    except SampleError as error:
        return "quarantined", error.problem
    assert found.mode == "RGB"
    return "used", f"{found.width}x{found.height}"


def tar(path: Path) -> Outcome:
    try:
        shard = read_shard(str(path))
    except ShardError:
        try:
            raise AssertionError(f"counted {count_samples(str(path))}")
        except ShardError:
            pass
        raise
    assert count_samples(str(path)) == len(shard.samples)
    if shard.quarantined:
        return "quarantined", "; ".join(f"{key}: {reason}" for key, reason in shard.quarantined)
    return "used", ", ".join(sample.key for sample in shard.samples)


def config(made: tuple[str, tuple[str, ...]]) -> Outcome:
    found = load_config(made[0], made[1])
    expand_urls(found.images)
    return "used", found.name


def checkpoint(made: tuple[str, str]) -> Outcome:
    return "used", str(load_backbone(made[0], checkpoint=made[1]).image_size)


def hub(model: str) -> Outcome:
    found = load_backbone(model)
    if model.startswith("local-dir:"):
        phreg.load_student(model.removeprefix("local-dir:"))
    return "used", str(found.image_size)


def call(use: Callable[[], str]) -> Outcome:
    said = use()
    return ("made again", said) if said == "made again" else ("used", said)


READERS: dict[str, Callable[[Any], Outcome]] = {
    "image": image, "tar": tar, "config": config, "checkpoint": checkpoint, "hub": hub,
    "registry": call, "cache": call, "features": call,
}  # fmt: skip


def outcome(case: Case, folder: Path) -> Outcome:
    """What comes of a case; an error of ours by its name, any other as itself."""
    made = case.make(folder)
    before = sorted(os.listdir("."))
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        return READERS[case.kind](made)
    except PhregError as error:
        return type(error).__name__, str(error)
    except BaseException as error:
        return f"!{type(error).__name__}", str(error)
    finally:
        faulthandler.cancel_dump_traceback_later()
        assert sorted(os.listdir(".")) == before, "something was written, or code was run"


def main() -> None:
    warnings.simplefilter("ignore")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for case in CASES[int(sys.argv[2]) :]:
        with tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder:
            os.mkdir(f"{folder}/work")
            (Path(folder) / "input").mkdir()
            os.chdir(f"{folder}/work")
            started = time.monotonic()
            comes, says = outcome(case, Path(folder) / "input")
            os.chdir("/")
        print(json.dumps([case.id, comes, says, time.monotonic() - started]), flush=True)


if __name__ == "__main__":
    main()
