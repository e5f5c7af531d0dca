"""The benchmark of many students, small: equal weights, and the ratio of the figures above it."""

import csv
import re
from pathlib import Path

import pytest
import torch

from benchmarks.students import main


@pytest.mark.slow
def test_the_ratio_is_that_of_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--images", "96", "--epochs", "1", "--validate-every", "2", "--counts", "1", "2"]
    assert main([*arguments, "--csv", str(tmp_path / "rows.csv")]) == 0
    printed = capsys.readouterr().out
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["students"] for row in rows] == ["1", "2"]
    seconds = [
        float(re.match(r"[\d.]+", rows[-1][side])[0])  # type: ignore[index]
        for side in ("one after the other", "shared")
    ]
    ratio = float(printed.rpartition("ratio: ")[2])
    assert ratio == pytest.approx(seconds[0] / seconds[1], rel=0.1)
    assert torch.__version__ in rows[0]["machine"]
