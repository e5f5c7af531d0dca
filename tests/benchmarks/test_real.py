"""The benchmark on real weights: what is shared by several read-outs is the same as computed alone."""

from pathlib import Path

import pytest
import torch

from benchmarks.real.command import main
from benchmarks.real.trunk import Trunk
from phreg import denoise, load_backbone, sample_views
from tests.helpers import tiny_clip


@pytest.mark.parametrize("read_out", ["standard", "value", "csa", "naclip", "qq"])
def test_a_shared_trunk_changes_nothing(read_out: str) -> None:
    alone = load_backbone(tiny_clip(), read_out=read_out)
    trunk, images = Trunk(alone), torch.randn(2, 3, 64, 64)
    views = sample_views(8, 3, 0.2, seed=0)
    with torch.no_grad():
        for _ in range(2):  # the second from what was kept
            torch.testing.assert_close(trunk.read(read_out)(images), alone(images), rtol=0, atol=1e-5)
            shared = denoise(trunk.read(read_out), images, views)
            torch.testing.assert_close(shared, denoise(alone, images, views), rtol=0, atol=1e-5)


def test_only_the_last_block_learns() -> None:
    trunk = Trunk(load_backbone(tiny_clip(), read_out="naclip"))
    student = trunk.student("naclip")
    student(torch.randn(1, 3, 64, 64)).sum().backward()
    learnt = {name for name, p in student.vit.named_parameters() if p.grad is not None}
    assert learnt
    assert all(name.startswith(f"blocks.{len(student.vit.blocks) - 1}.") for name in learnt)


def test_files_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--weights", str(tmp_path), "--data", str(tmp_path), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "skipped" in said
    assert "clip-b16/config.json" in said
    assert not (tmp_path / "out").exists()
