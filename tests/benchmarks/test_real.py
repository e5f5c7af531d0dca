"""The benchmark on real weights: what is shared by several read-outs is the same as computed alone."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.real.ablation import NO_REGISTERS, RAW, VARIANTS, comparisons
from benchmarks.real.command import main
from benchmarks.real.differences import Comparison, write_differences
from benchmarks.real.measure import Row
from benchmarks.real.picture import PROTOCOLS, ROWS, draw, gains
from benchmarks.real.probes import interval
from benchmarks.real.quantised import cosines, quantised, rounded_by_token
from benchmarks.real.trunk import Trunk
from benchmarks.real.weights import FOLDER, QUANTISED, clip_folder, is_there
from phreg import denoise, load_backbone, sample_views
from phreg.evaluate.set_counts import SetCounts
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
    assert QUANTISED in said
    assert not (tmp_path / "out").exists()


def test_int8_weights_are_made_into_a_directory_once(tmp_path: Path) -> None:
    codes, scale = torch.tensor([[-127, 64], [1, 0]], dtype=torch.int8), torch.tensor([0.5, 2.0])
    assert not is_there(tmp_path)
    save_file({"a.weight": codes, "a.weight.scale": scale, "a.bias": scale.clone()}, tmp_path / QUANTISED)
    assert is_there(tmp_path)
    made = clip_folder(tmp_path, tmp_path / "out")
    found = load_file(made / "model.safetensors")
    assert found["a.weight"].tolist() == [[-63.5, 32.0], [2.0, 0.0]]
    assert found.keys() == {"a.weight", "a.bias"}
    (tmp_path / QUANTISED).unlink()
    assert clip_folder(tmp_path, tmp_path / "out") == made


def test_a_directory_of_weights_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "config.json").touch()
    assert clip_folder(tmp_path, tmp_path / "out") == tmp_path / FOLDER


def test_the_picture_shows_what_was_measured() -> None:
    found = gains()
    shown = {place for place in found if (place[0], place[1]) in {row[:2] for row in ROWS}}
    figure = draw()
    dots = [line for axis in figure.axes for line in axis.lines if line.get_marker() == "o"]
    drawn = sorted(float(np.ravel(dot.get_xdata())[0]) for dot in dots)
    assert drawn == sorted(found[place][0] for place in shown if place[2] in PROTOCOLS)
    assert len(drawn) == len(ROWS) * 3 - 2  # ten passes over CamVid were not measured


def test_rounded_features_stay_near_and_the_network_as_it_was() -> None:
    alone, images = load_backbone(tiny_clip(), read_out="value"), torch.randn(2, 3, 64, 64)
    before = alone(images)
    for rounded in (quantised(alone), rounded_by_token(alone)):
        found = cosines(alone, rounded, images)
        assert found.shape == (2, before.shape[-1] * before.shape[-2])
        assert 0.99 < found.min() < found.max() < 1
    assert not torch.equal(quantised(alone)(images), before)
    shared = Trunk(quantised(alone)).read("value")(images)
    torch.testing.assert_close(shared, quantised(alone)(images), rtol=0, atol=1e-5)
    assert torch.equal(alone(images), before)


def test_differences_are_those_of_seeds_together(tmp_path: Path) -> None:
    """Two images of two classes: the first method's second seed has all right, all others half."""

    def row(method: str, hits: int) -> Row:
        counts = np.tile(np.array([hits, 10, 10]), (2, 2, 1))
        return Row(method, "set", "protocol", SetCounts(("a", "b"), counts), 1, 0.0)

    rows = [row("a0", 5), row("a1", 10), row("b0", 5), row("b1", 5)]
    pairs = {"0": ("a0", "b0"), "1": ("a1", "b1"), "2": ("a2", "b2")}
    wanted = [Comparison("a", "b", pairs), Comparison("c", "b", {"0": ("c0", "b0")})]
    write_differences(wanted, rows, tmp_path / "out.csv")
    (found,) = csv.DictReader((tmp_path / "out.csv").open())
    assert (found["method"], found["seeds"]) == ("a", "0 1")
    together = 15 / 25 - 10 / 30  # hits over the union, of both seeds
    assert float(found["difference"]) == pytest.approx(100 * together, abs=0.01)


def test_every_variant_is_compared_with_the_base_of_its_seed() -> None:
    assert len({variant.method for variant in VARIANTS}) == len(VARIANTS)
    for compared in comparisons():
        assert all(own != base for own, base in compared.pairs.values())
    thrice = [c for c in comparisons() if len(c.pairs) == 3]
    assert [c.name for c in thrice] == [NO_REGISTERS, RAW]


def test_a_mean_and_its_interval() -> None:
    mean, low, high = interval(np.array([1.0, 2.0, 3.0, 6.0]))
    assert mean == 3.0
    assert 1.0 <= low < mean < high <= 6.0
