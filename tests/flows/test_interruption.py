"""Ctrl-C and SIGTERM: one clean stop, nothing left behind. `tests/faults` has all the other moments."""

import signal
import sys
from pathlib import Path

import pytest

from tests.processes import starter
from tests.small_run import write_config


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_one_clean_stop(kind: signal.Signals, tmp_path: Path) -> None:
    students = [{"name": "long", "targets": "denoised", "registers": 2, "batch_size": 4, "epochs": 5000}]
    path = write_config(tmp_path, students=students)
    with starter(tmp_path) as start:
        run = start.phreg("run", str(path))
        run.says("student long: step")
        run.interrupt(kind)
        assert run.ends(120) == 130, run.tail
        assert "the same command goes on from there" in run.text
        assert "Traceback" not in run.text, run.tail
        run.gone(60)
