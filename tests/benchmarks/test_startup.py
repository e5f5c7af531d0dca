"""The start-up benchmark: its world is a run's, and its figures are of processes that ended well."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.startup import timed, write_world
from phreg.config.run import load_config


def test_its_world_is_a_config(tmp_path: Path) -> None:
    assert load_config(write_world(tmp_path)).used_targets == ["denoised"]
    assert len(list(tmp_path.glob("scenes-*.tar"))) == 2


def test_a_command_that_fails_is_no_figure() -> None:
    wall, cpu = timed([sys.executable, "-c", "sum(range(10**6))"], dict(os.environ))
    assert wall > 0
    assert cpu > 0
    with pytest.raises(subprocess.CalledProcessError):
        timed([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ))
