"""Every server that a run starts listens on loopback alone."""

import contextlib
import os
import time
from pathlib import Path

import pytest

from tests.faults.ledger import trial
from tests.processes import Started, starter
from tests.small_run import write_config

pytestmark = pytest.mark.timeout(900)
LISTENING = "0A"
LOOPBACK = {
    "0100007F",  # 127.0.0.1, its bytes as this machine has them
    "00000000000000000000000001000000",  # ::1
    "0000000000000000FFFF00000100007F",  # ::ffff:127.0.0.1
}


def listening() -> dict[str, str]:
    """Local addresses of all listening sockets of this machine, by inode."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                found[fields[9]] = fields[1]
    return found


def sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found


def servers(run: Started) -> set[tuple[str, str]]:
    """(address, program) of what the run's processes listen on."""
    addresses = listening()
    return {
        (addresses[inode].partition(":")[0], command)
        for pid, command in run.processes().items()
        for inode in sockets(pid)
        if inode in addresses
    }


def test_the_search_finds_a_server_on_all_addresses(tmp_path: Path) -> None:
    code = "import socket, time; s = socket.create_server(('0.0.0.0', 0)); print('up', flush=True)"
    with starter(tmp_path) as started:
        run = started.start(["python3", "-c", code + "; time.sleep(60)"])
        run.says("up")
        assert {address for address, _ in servers(run)} == {"00000000"}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_listens_on_loopback_alone(tmp_path: Path, workers: int) -> None:
    with (
        trial("security", f"servers of a run with {workers} training workers", "runs"),
        starter(tmp_path) as this,
    ):
        config = write_config(tmp_path, training={"workers": workers})
        run = this.phreg("run", str(config), RAY_TMPDIR="/tmp")
        found: set[tuple[str, str]] = set()
        while run.process.poll() is None:
            found |= servers(run)
            time.sleep(0.2)
        assert run.ends() == 0, run.tail
        programs = " ".join(program for _, program in found)
        assert "gcs_server" in programs
        assert "uvicorn" in programs
        assert {(address, program) for address, program in found if address not in LOOPBACK} == set()
