"""The cluster is lost while a student is trained: an error in time, and a new cluster goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.ledger import trial

# A driver in a process of its own, whose local Ray loses one of its parts at the tenth step, or none.
DRIVER = """
import os, signal, sys
from pathlib import Path
import ray
import psutil
from phreg.execution.cluster import connect
from phreg.execution.train import distil
from phreg.errors import ClusterError
from tests.distill.jobs import make_job

folder, part = Path(sys.argv[1]), sys.argv[2]
job = make_job(folder, training={"checkpoint_every": 5}, epochs=40)

def lose(progress):
    for process in psutil.Process().children(recursive=True):
        if part != "none" and progress.step >= 10 and process.name().startswith(part):
            os.kill(process.pid, signal.SIGKILL)

try:
    with connect("local"):
        report = distil(job, str(folder / "output"), on_progress=lose)
except ClusterError as error:
    print("LOST", error.problem)
    os._exit(0)  # Ray's own end would wait for the cluster
print("DONE", "went on" if report.reused or report.resumed_from else "from the start")
"""


def drive(folder: Path, part: str) -> str:
    run = subprocess.run([sys.executable, "-c", DRIVER, str(folder), part], capture_output=True, text=True)
    lines = [line for line in run.stdout.splitlines() if line.startswith(("LOST", "DONE"))]
    assert lines, run.stdout[-1000:] + run.stderr[-2000:]
    return lines[-1]


def weights(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("model/model.safetensors"))]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_a_cluster_that_is_lost(part: str, tmp_path: Path) -> None:
    with trial("Training", f"SIGKILL of the cluster's {part} while a student is trained", "steps") as this:
        lost, calm = tmp_path / "lost", tmp_path / "calm"
        for folder in (lost, calm):
            folder.mkdir()
        assert drive(lost, part).startswith("LOST")
        this.rerun = True
        # From a checkpoint; without a head the workers may even have finished before it was given up.
        assert drive(lost, "none") == "DONE went on"
        this.repeated = 5  # at most: the steps between two checkpoints
        assert drive(calm, "none").startswith("DONE")
        assert weights(lost) == weights(calm)
        assert len(weights(lost)) == 1
