"""`phreg inspect` as continuous integration uses it: exit codes, JSON, layers."""

import json
from pathlib import Path

import pytest

from phreg.cli.main import main
from phreg.evaluate import inspect_model
from phreg.models import hub_files, load_backbone
from phreg.models.student import add_registers
from phreg.types import HIGHER_IS_BETTER, KEPT_FROM_TEACHER
from tests.helpers import jpeg_bytes, make_image, tiny_dinov2


@pytest.fixture
def model(tmp_path: Path) -> str:
    files = hub_files(add_registers(load_backbone(tiny_dinov2(32)), 2))
    (tmp_path / "model").mkdir()
    for name, data in files.items():
        (tmp_path / "model" / name).write_bytes(data)
    return f"local-dir:{tmp_path / 'model'}"


@pytest.fixture
def inspect(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(make_image()))

    def run(*options: str) -> tuple[int, str, str]:
        figure = str(tmp_path / "figure.png")
        code = main(["inspect", model, str(tmp_path / "a.jpg"), "--figure", figure, "--views", "2", *options])
        out, error = capsys.readouterr()
        return code, out, error

    return run


def test_rules_that_do_not_hold_are_silent(inspect) -> None:  # type: ignore[no-untyped-def]
    code, _, error = inspect("--fail-if", "norm_ratio > 1000", "--fail-if", "artifact_rate > 0.99")
    assert code == 0
    assert "failed" not in error


def test_a_rule_that_holds_fails_and_says_which_by_how_much(inspect) -> None:  # type: ignore[no-untyped-def]
    code, out, error = inspect("--fail-if", "norm_ratio > 1", "--fail-if", "artifact_rate > 0.99")
    assert code == 1
    failed = [line for line in error.splitlines() if line.startswith("failed")]
    assert len(failed) == 1
    assert failed[0].startswith("failed: norm_ratio > 1: it is ")
    assert float(failed[0].rpartition(" ")[2]) > 1
    assert "rules of thumb" in out, "the verdict is there all the same"


def test_json_is_all_that_stdout_holds(inspect, model: str) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = inspect("--json", "--fail-if", "norm_ratio > 1")
    report = json.loads(out)
    assert code == 1
    assert set(report["metrics"]) == set(HIGHER_IS_BETTER) - set(KEPT_FROM_TEACHER)
    assert report["model"] == model
    assert report["failed"] == ["norm_ratio > 1"]
    assert [row["after"] for row in report["layers"]] == ["block 1", "block 2", "final norm"]
    assert [row["image"].endswith("a.jpg") for row in report["images"]] == [True]
    assert report["skipped"] == []


def test_layers_are_a_table_on_request(inspect) -> None:  # type: ignore[no-untyped-def]
    assert "block 2" not in inspect()[1]
    _, out, _ = inspect("--layers")
    assert "block 2" in out
    assert "final norm" in out


@pytest.mark.parametrize(("text", "size"), [("16", 16), ("32x48", (32, 48)), ("16x8", (16, 8))])
def test_a_size_is_one_side_or_two(  # type: ignore[no-untyped-def]
    inspect, model: str, tmp_path: Path, text: str, size: int | tuple[int, int]
) -> None:
    code, out, _ = inspect("--json", "--image-size", text)
    assert code == 0
    same = inspect_model(load_backbone(model, image_size=size), [str(tmp_path / "a.jpg")], views=2)
    assert json.loads(out)["metrics"] == same.metrics


@pytest.mark.parametrize("size", ["0", "32x", "x32", "32x0", "32x32x32", "-8", "a"])
def test_what_is_no_size(inspect, size: str, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SystemExit) as caught:
        inspect("--image-size", size)
    assert caught.value.code == 2
    assert "--image-size" in capsys.readouterr().err
