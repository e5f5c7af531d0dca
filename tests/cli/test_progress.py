"""Progress of commands: a bar in a terminal, lines elsewhere, nothing of it on standard output."""

import sys
from pathlib import Path

import pytest

from phreg.cli.progress import showing
from phreg.progress import tell
from tests.terminals import in_terminal

SCRIPT = """
import sys, time
from pathlib import Path
from phreg.cli.progress import showing
from phreg.progress import tell

with showing("packing", "listing the images"):
    tell("reading", 30, 120)
    while not Path(sys.argv[1]).exists():
        time.sleep(0.05)
print("the end")
"""


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_shows_a_bar(columns: int, tmp_path: Path) -> None:
    with in_terminal([sys.executable, "-c", SCRIPT, str(tmp_path / "go")], columns) as terminal:
        terminal.shows(lambda text: "━━" in text)
        (tmp_path / "go").touch()
        terminal.shows(lambda text: "the end" in text)
        lines = terminal.text.splitlines()
    assert max(map(len, lines)) <= columns
    assert any(line.startswith("packing ━") and " 25% 0:" in line for line in lines)
    assert "  reading 30 of 120 images" in lines


def test_without_a_terminal_it_is_lines_of_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phreg.progress_reporter._LOOK_S", 0.01)
    monkeypatch.setattr("phreg.progress_reporter.EVERY_S", 0.0)
    with showing("packing"):
        tell("reading", 30, 120)
        errors, output = "", ""
        while "30 of 120" not in errors:
            shown = capsys.readouterr()
            errors, output = errors + shown.err, output + shown.out
    assert errors.splitlines()[-1] == "packing: reading 30 of 120 images"
    assert output == ""
