"""Ctrl-C and SIGTERM: one clean stop, nothing left behind, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.small_run import write_config

RUN = [sys.executable, "-c", "import sys; from phreg.cli import main; sys.exit(main())", "run"]


def processes_marked(mark: str) -> list[str]:
    """Command lines of all processes that inherited this environment variable."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"PHREG_TEST_MARK={mark}\0".encode() in environ.read_bytes():
                found.append((environ.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_one_clean_stop(kind: signal.Signals, tmp_path: Path) -> None:
    students = [{"name": "long", "targets": "denoised", "registers": 2, "batch_size": 4, "epochs": 5000}]
    path = write_config(tmp_path, students=students)
    mark = f"{kind.name}-{os.getpid()}"
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "PHREG_TEST_MARK": mark}
    log = tmp_path / "log"
    with log.open("wb") as out:
        run = subprocess.Popen(
            [*RUN, str(path)], env=environment, stdout=out, stderr=out, start_new_session=True
        )
    deadline = time.monotonic() + 240
    while b"student long: step" not in log.read_bytes():
        assert run.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.2)
    if kind is signal.SIGINT:
        os.killpg(run.pid, kind)  # a terminal's Ctrl-C goes to the whole group
    else:
        run.send_signal(kind)
    assert run.wait(60) == 130, log.read_text()[-2000:]
    assert "the same command goes on from there" in log.read_text()
    for _ in range(100):
        if not processes_marked(mark):
            break
        time.sleep(0.2)
    assert processes_marked(mark) == []
