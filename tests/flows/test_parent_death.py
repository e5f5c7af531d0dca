"""What is bound to its parent ends with it, in whatever way the parent ends."""

import signal
import subprocess
import sys
import time

import pytest

PARENT = """
import os, sys, time
from flows import parent_death

child = parent_death.start(["http.server", "--bind", "127.0.0.1", "0"], os.environ, stderr=-3)
print(child.pid, flush=True)
if sys.argv[1] == "stay":
    time.sleep(600)
"""


@pytest.mark.parametrize("end", ["stay", "leave"])
def test_a_child_ends_with_its_parent(end: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, end], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if end == "stay":
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
    parent.wait(60)
    deadline = time.monotonic() + 60
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return found.stdout.strip()[:1] not in ("", "Z")
