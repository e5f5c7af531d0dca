"""The stand-in device's benchmark, small: it counts all images, and its ratio is of the slower floor."""

import re
from pathlib import Path

import pytest

from benchmarks.device import main
from tests.helpers import write_shard


@pytest.mark.parametrize("encoding", ["float16", "int8"])
def test_the_ratio_is_that_of_the_figures(
    tmp_path: Path, encoding: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = [str(write_shard(tmp_path / f"s{i}.tar", 5, seed=i)) for i in range(2)]
    arguments = ["--ms-per-image", "20", "--shape", "16x8", "--image-size", "32", "--encoding", encoding]
    assert main(["--photos", *shards, *arguments]) == 0
    printed = capsys.readouterr().out
    assert "10 images in 2 shards" in printed
    seconds = [
        float(found) for found in re.findall(r"^(?:device|bare|the stage).*?(\d+\.\d+) s", printed, re.M)
    ]
    device, decoding, stage = seconds
    assert device == 0.2
    assert stage >= device
    assert float(printed.rpartition("ratio: ")[2]) == pytest.approx(max(device, decoding) / stage, abs=0.02)
