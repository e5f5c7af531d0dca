"""The failpoints themselves: what is planned happens to the pass that was meant, once over all processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.faults.failpoints import Failpoints

DIGEST = "phreg.fingerprint:digest_bytes"
CALL = (
    "import sys; from phreg.fingerprint import digest_bytes; [digest_bytes(a.encode()) for a in sys.argv[1:]]"
)


def start(points: Failpoints, *data: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CALL, *data]
    return subprocess.Popen(command, env=os.environ | points.environment(), stderr=subprocess.PIPE, text=True)


def test_a_pass_is_noted_held_or_ends_its_process_and_no_other_pass_is(tmp_path: Path) -> None:
    points = Failpoints(tmp_path / "points")
    points.note(DIGEST, label="data")
    kill = points.add(DIGEST, "kill", match="K", call=2)
    fail = points.add(DIGEST, "raise", match="R", problem="as planned")
    hold = points.add(DIGEST, "hold", match="H", when="after")
    first = start(points, "a", "K", "a")
    assert (first.communicate()[1], first.returncode) == ("", 0)
    killed = start(points, "K", "a")
    assert killed.wait() == -signal.SIGKILL
    assert points.happened(kill) == [killed.pid]
    raised = start(points, "a", "R")
    assert "StorageError: as planned" in raised.communicate()[1]
    assert points.happened(fail) == [raised.pid]
    held = start(points, "K", "R", "H", "a")  # nothing happens twice
    assert points.await_(hold) == [held.pid]
    assert held.poll() is None
    points.release(hold)
    assert held.wait() == 0
    assert points.labels(DIGEST) == [f"b'{each}'" for each in "aKaKaRKRHa"]
    assert points.repeated(DIGEST) == 10 - 4
    points.clear()
    assert start(points, "K", "K").wait() == 0
    assert points.labels(DIGEST) == []
