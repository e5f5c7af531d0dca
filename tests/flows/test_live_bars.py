"""A flow in a terminal of 80 columns: a bar in place of lines, and all the lines in Prefect's log."""

import sys
from pathlib import Path

from tests.flows.test_progress import prefect_log
from tests.prefect_homes import prefect_home
from tests.terminals import in_terminal

SCRIPT = """
import sys, time
from pathlib import Path
from flows.progress import live_bars, reporting
from flows.terminal import prepare_terminal
from phreg.progress import Progress, pass_on
from prefect import flow, get_run_logger

@flow(name="small", flow_run_name="small")
def small():
    with reporting("targets denoised", eager=True):
        pass_on(Progress("", 45, 100, head="0/1 shards", rate=2.0, remaining=27.0))
        get_run_logger().info("a line of the log")
        while not Path(sys.argv[1]).exists():
            time.sleep(0.05)

prepare_terminal()
with live_bars():
    small()
print("the end")
"""
LINE = "0/1 shards, 45 of 100 images, 2.0 images/s, 0:27 left"


def test_bars_stand_for_the_lines_of_progress(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "go")]
    home = {"PREFECT_HOME": prefect_home(tmp_path)}
    with in_terminal(command, 80, **home) as terminal:
        terminal.shows(lambda text: "━━━━" in text and "a line of the log" in text)
        (tmp_path / "go").touch()
        terminal.shows(lambda text: "the end" in text)
        assert terminal.process.wait(60) == 0
        lines = terminal.text.splitlines()
    bars = [line for line in lines if line.startswith("targets denoised ━")]
    assert bars
    assert all(" 45% 0:" in line and len(line) < 80 for line in bars)
    assert f"  {LINE}" in lines
    assert not any("INFO" in line and "45 of 100" in line for line in lines)
    assert f"targets denoised: {LINE}" in prefect_log(tmp_path / "prefect")
