"""SIGTERM while Ray is connected: what the process's handler raises comes out, and soon."""

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import os, signal, sys, threading, time
import ray
from phreg.execution.cluster import connect
from phreg.execution.remote import run_remote

class Ended(BaseException): pass

def end(signum, frame):
    print("asked", flush=True)
    raise Ended

signal.signal(signal.SIGTERM, end)
try:
    with connect():
        print("connected", flush=True)
        {wait}
except Ended:
    print("ended", ray.is_initialized(), signal.getsignal(signal.SIGTERM) is end)
"""
WAITS = {
    "get": "ray.get(ray.remote(lambda: time.sleep(600)).remote())",
    "task": "run_remote(time.sleep, 600)",
    "python": "time.sleep(600)",
}


@pytest.mark.parametrize("wait", WAITS)
def test_what_the_handler_raises_comes_out_of_ray(wait: str) -> None:
    program = PROGRAM.format(wait=WAITS[wait])
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "connected\n"
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGTERM)  # while it shuts down
    assert process.communicate(timeout=120)[0] == "ended False True\n"
    assert process.returncode == 0
