from pathlib import Path

import pytest

from phreg.cli import main


def test_findings_are_lines_and_what_is_wrong_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["doctor", str(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    checks = [line.split()[1] for line in shown if not line.startswith(" ")]
    assert checks == ["packages", "torchvision", "device", "Ray", "storage", "creation", "Prefect"]
    assert main(["doctor", "--ray-address", "127.0.0.1:1"]) == 1
    shown = capsys.readouterr().out.splitlines()
    (number,) = [i for i, line in enumerate(shown) if line.startswith("wrong  Ray")]
    assert "There is no Ray cluster at 127.0.0.1:1" in shown[number]
    assert "what to do: check ray_address" in shown[number + 1]
