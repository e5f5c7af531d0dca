"""`phreg table` as a user runs it: two seeds, a student, teacher rows, segmentation and probes."""

import csv
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from phreg.demo.world.write import write_label_folder
from phreg.storage import Folder
from tests.flows.test_run import phreg_command
from tests.helpers import save_tiny_open_clip
from tests.small_run import make_config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("table")
    for part, scenes in (("train", range(4)), ("test", range(4, 7))):
        write_label_folder(Folder(str(folder / "scenes" / part)), 0, scenes, 64)
    here = {"kind": "folder", "root": str(folder / "scenes")}
    probe = {"train": here | {"split": "train"}, "test": here | {"split": "test"}, "probe": {"steps": 5}}
    teacher = {"model": save_tiny_open_clip(folder / "clip"), "read_out": "naclip"}
    labels = {
        "sets": [
            here | {"name": "scenes", "split": "test"},
            {"name": "voc21", "kind": "voc21", "root": str(folder / "nowhere")},
        ],
        "probes": [
            probe | {"name": "labels", "task": "segmentation"},
            probe | {"name": "depth", "task": "depth"},
        ],
    }
    config = {
        "name": "all",
        "run": make_config(folder, teacher=teacher, labels=labels),
        "seeds": [0, 1],
        "label_free": True,
        "teacher_rows": [
            {"name": "vanilla", "read_out": "value"},
            {"name": "denoised", "read_out": "naclip", "views": 3},
            {"name": "refined", "read_out": "naclip", "method": "refined_views", "views": 3},
        ],
    }
    path = folder / "table.yaml"
    path.write_text(yaml.safe_dump(config))
    return path, phreg_command("table", str(path), home=folder)


def test_every_method_has_every_measure_for_every_seed(finished: tuple) -> None:
    path, run = finished
    assert run.returncode == 0, run.stderr[-3000:]
    rows = list(csv.DictReader((path.parent / "run/tables/all.csv").open()))
    labelled = {"scenes mIoU", "scenes pixel accuracy", "labels mIoU", "labels pixel accuracy"}
    labelled |= {f"depth {name}" for name in ("RMSE", "AbsRel", "delta1", "delta2", "delta3")}
    labelled |= {f"{name} skipped" for name in ("scenes", "labels", "depth")}
    free = {"shift_cosine_mean", "target_cosine_p50", "artifact_rate", "norm_ratio", "class_token_cosine"}
    for method, wanted in (
        ("vanilla", labelled | free),
        ("denoised", labelled),
        ("refined", labelled),
        ("one", labelled | free),
    ):
        for seed in ("0", "1"):
            found = {row["measure"] for row in rows if (row["method"], row["seed"]) == (method, seed)}
            assert {name for name in found if "IoU of" not in name} == wanted
            assert any(name.startswith("scenes IoU of ") for name in found)
    by = {(row["method"], row["seed"], row["measure"]): float(row["value"]) for row in rows}
    assert by["vanilla", "0", "scenes mIoU"] == by["vanilla", "1", "scenes mIoU"]
    assert by["denoised", "0", "labels mIoU"] != by["denoised", "1", "labels mIoU"]


def _cells(text: str, line: str) -> list[list[str]]:
    """Of each row of a table, which has this between its cells."""
    return [[cell.strip() for cell in row.split(line)] for row in text.splitlines() if line in row]


def test_the_table_is_shown_and_written(finished: tuple) -> None:
    path, run = finished
    text = (path.parent / "run/tables/all.md").read_text()
    shown = _cells(run.stdout, "│")
    for row in text[: text.index("\n\n")].splitlines():
        if not row.startswith("| --- "):
            assert [cell.replace("**", "").strip() for cell in row[1:-1].split("|")] in shown
    assert "2 seeds" in text
    assert "left out: voc21" in text
    assert "voc21 is left out" in run.stderr


def test_a_second_run_measures_nothing_again(finished: tuple) -> None:
    path, first = finished
    scores = path.parent / "run/labels/scores"
    before = {file: file.stat().st_mtime_ns for file in scores.iterdir()}
    kinds = Counter(file.suffix for file in before)
    assert kinds == {
        ".json": 5 + 3 * 6,
        ".safetensors": 1 + 3 * 2,
    }  # segmentation in one pass depends on no seed
    again = phreg_command("table", str(path), home=path.parent)
    assert again.returncode == 0, again.stderr[-3000:]
    assert {file: file.stat().st_mtime_ns for file in scores.iterdir()} == before
    assert _cells(again.stdout, "│") == _cells(first.stdout, "│")


def test_a_column_that_fails_is_named_and_the_others_are_shown(finished: tuple, tmp_path: Path) -> None:
    path, _ = finished
    shutil.copytree(path.parent / "scenes", tmp_path / "scenes")
    for mask in (tmp_path / "scenes/test/labels").iterdir():
        mask.write_bytes(b"no mask")
    broken = f"run.labels.sets.0.root={tmp_path}/scenes"
    run = phreg_command("table", str(path), "--set", broken, "name=broken", home=path.parent)
    assert run.returncode == 1, run.stderr[-3000:]
    assert "- vanilla on scenes (seed 1) failed: Nothing of scenes could be measured" in run.stdout
    rows = list(csv.DictReader((path.parent / "run/tables/broken.csv").open()))
    shown = {row["measure"] for row in rows if (row["method"], row["seed"]) == ("one", "1")}
    assert {"labels mIoU", "depth RMSE", "artifact_rate"} <= shown
    assert not any(name.startswith("scenes ") for name in shown)


def test_a_bad_table_starts_nothing(finished: tuple, tmp_path: Path) -> None:
    path, _ = finished
    bad = phreg_command(
        "table", str(path), "--set", "seeds=[]", "run.labels.sets.0.kind=vok", home=path.parent
    )
    assert bad.returncode == 2
    assert "seeds" in bad.stderr
    assert "labels.sets.0.kind" in bad.stderr
