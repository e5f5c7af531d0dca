"""What a command costs when there is nothing to do: `--help`, a plan, and a run that finds all done.

    python -m benchmarks startup --repeats 3

In a folder of its own it makes a tiny world (12 drawn scenes, a one-step student of the small CLIP) by a
first `phreg run`, which is the other side: what the same command costs when all is to be made. Each command
is a process; its seconds are of the wall, its CPU seconds are its own and those of children it waited for.
Floors: an interpreter that does nothing, and one that imports torch and timm.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import yaml

from phreg.demo.world.write import shard_bytes
from phreg.report.markdown import markdown_table
from phreg.storage import Folder

PHREG = [sys.executable, "-c", "import sys; from phreg.cli import main; sys.exit(main())"]
SCENES = 6  # a shard


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks startup", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="of each command but the first run")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="phreg-startup-") as folder:
        config = write_world(Path(folder))
        environment = os.environ | {"PREFECT_HOME": f"{folder}/prefect", "DO_NOT_TRACK": "1"}
        first = [timed([*PHREG, "run", str(config)], environment)]
        commands = {
            "interpreter": [sys.executable, "-c", ""],
            "import torch, timm": [sys.executable, "-c", "import phreg, torch, timm"],
            "phreg --help": [*PHREG, "--help"],
            "phreg plan": [*PHREG, "plan", str(config)],
            "phreg run, all done": [*PHREG, "run", str(config)],
        }
        found = {
            name: [timed(command, environment) for _ in range(options.repeats)]
            for name, command in commands.items()
        }
    found = {"phreg run, the first": first} | found
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "prefect"))
    print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores, {platform.machine()}")
    rows = [[name, *cells(times)] for name, times in found.items()]
    print(markdown_table(["command", "runs", "seconds", "spread", "CPU seconds"], rows))
    print("\ncommand,seconds,cpu_seconds")
    for name, times in found.items():
        for wall, cpu in times:
            print(f'"{name}",{wall:.2f},{cpu:.2f}')
    again = statistics.median(wall for wall, _ in found["phreg run, all done"])
    print(f"ratio: {again / first[0][0]:.2f}")
    return 0


def cells(times: Sequence[tuple[float, float]]) -> list[str]:
    walls = [wall for wall, _ in times]
    cpu = statistics.median(cpu for _, cpu in times)
    spread = f"{min(walls):.1f} to {max(walls):.1f}"
    return [str(len(times)), f"{statistics.median(walls):.1f}", spread, f"{cpu:.1f}"]


def timed(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of the wall, and of CPUs. Raises `CalledProcessError`."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu


def write_world(folder: Path) -> Path:
    """Two shards of scenes, and a config over them."""
    for shard in range(2):
        scenes = range(shard * SCENES, (shard + 1) * SCENES)
        Folder(str(folder)).write(f"scenes-{shard}.tar", shard_bytes(0, scenes))
    config = {
        "name": "startup",
        "images": f"{folder}/scenes-0.tar",
        "validation": f"{folder}/scenes-1.tar",
        "output": f"{folder}/run",
        "teacher": {"model": "phreg/small-clip", "read_out": "naclip"},
        "targets": {"denoised": {"views": 2}},
        "students": [{"name": "one", "targets": "denoised", "batch_size": SCENES}],
        "evaluation": {"images": SCENES, "shifts": 2, "figures": 1},
    }
    path = folder / "startup.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
