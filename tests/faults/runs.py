"""Whole runs to be disturbed, what an undisturbed one comes to, and moments at which a run can be held."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phreg.config.run import load_config
from phreg.registry import Registry
from phreg.storage import Folder
from tests.faults.caches import Digests, digests
from tests.faults.failpoints import COMPUTE, Failpoints
from tests.helpers import write_shard
from tests.processes import Started, Starter
from tests.small_run import write_config

STEP = "phreg.distill.step:training_step"
EVERY = 4  # steps between checkpoints
STUDENT = {"name": "one", "targets": "denoised", "registers": 2, "batch_size": 2, "epochs": 3}


@dataclass(frozen=True)
class Outcome:
    """What a run left: targets, students' files, and what is registered, all without times."""

    cache: Digests
    students: dict[str, bytes]
    registered: list[tuple[str, int, str, tuple[tuple[str, bytes], ...]]]
    champion: dict[str, int]


def outcome(config: Path, *overrides: str) -> Outcome:
    settings = load_config(config, list(overrides))
    output, registry = Folder(settings.output), Registry(Folder(settings.registry_url))
    students = [
        item.path
        for item in output.list("students")
        if item.path.endswith(("model/model.safetensors", "curve.jsonl"))
    ]
    entries = registry.entries()
    for entry in entries:
        entry.verify()
    return Outcome(
        cache=digests(Folder(settings.cache_url)),
        students={path: output.read(path) for path in students},
        registered=[
            (entry.model, entry.version, entry.record.student_digest, _files(entry.read)) for entry in entries
        ],
        champion={name: held.version for name, held in registry.aliases(settings.name).items()},
    )


def _files(read: Callable[[str], bytes]) -> tuple[tuple[str, bytes], ...]:
    names = ("config.json", "model.safetensors", "metrics.json", "curve.jsonl")
    return tuple((name, read(name)) for name in names)


def tiny_run(folder: Path, shards: int = 4, **changes: Any) -> Path:
    """A config with more than one shard a CPU to make, and a student with checkpoints in mid-epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(shards):
        write_shard(folder / "more" / f"more-{index:03d}.tar", n=3, seed=100 + index)
    settings = {
        "images": f"{folder}/more/more-{{000..{shards - 1:03d}}}.tar",
        "students": [STUDENT],
        "training": {"checkpoint_every": EVERY, "validate_every": EVERY},
        "generation": {"max_actors": 2},
    }
    return write_config(folder, **settings | changes)


def run_undisturbed(start: Starter, config: Path) -> Outcome:
    """In an output folder of its own."""
    output = f"output={start.folder}/undisturbed"
    run = start.phreg("run", str(config), "--set", output)
    assert run.ends(400) == 0, run.tail
    return outcome(config, output)


class Moments:
    """Where runs are held, one after the other, until they are killed or the test lets them go on."""

    def __init__(self, folder: Path) -> None:
        self.points = Failpoints(folder)
        self.clear()

    def clear(self) -> None:
        """As if nothing had been: for one environment through several tests."""
        self.points.clear()
        self.points.note(COMPUTE, label="shard.name")
        self.points.note(STEP, label="step")

    def at(self, function: str, **how: Any) -> str:
        return self.points.add(function, "hold", **how)

    def targets(self, call: int = 3) -> str:
        """Some shards are committed, others not."""
        return self.at(COMPUTE, call=call)

    def training(self, call: int = 2 * EVERY + 2) -> str:
        """In the middle of an epoch, and past a checkpoint."""
        return self.at(STEP, call=call)

    def evaluation(self) -> str:
        """The student is measured, but nothing is drawn."""
        return self.at("phreg.pipeline.assess:_draw")

    def registration(self) -> str:
        """The model is in its place, other files are not."""
        return self.at(
            "phreg.registry.registration:_put_fixed", label="path", match="model.safe", when="after"
        )

    def reached(self, run: Started, name: str) -> None:
        run.until(lambda: self.points.happened(name))

    @property
    def environment(self) -> dict[str, str]:
        return self.points.environment()

    @property
    def shards_again(self) -> int:
        """How often a shard was begun beyond once."""
        return self.points.repeated(COMPUTE)

    @property
    def steps_again(self) -> int:
        return self.points.repeated(STEP)
