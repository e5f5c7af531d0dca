"""Measuring a method on labelled sets, as a worker does it: what is left out, stored, and measured again."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch

from phreg.config.table import TeacherRow
from phreg.errors import DataError, PhregError, StorageError
from phreg.models.text import TextTower
from phreg.pipeline import columns, methods, set_contents
from phreg.pipeline.methods import measure, teacher_method
from tests.pipeline.conftest import LabelledWorld


def test_every_column_says_how_many_images_it_left_out(labelled_world: LabelledWorld) -> None:
    labelled_world.images("train")[-1].write_bytes(b"no image")
    labelled_world.images("test")[-1].write_bytes(b"no image")
    found = labelled_world.measured()
    assert [found[f"{name} skipped"] for name in ("scenes", "labels", "depth")] == [1, 2, 2]


READ_OUTS = [TeacherRow.model_validate({"name": name, "read_out": name}) for name in ("naclip", "value")]
ROWS: list[dict[str, Any]] = [
    {},
    {"views": 3},
    {"method": "refined_views", "views": 3, "combine": "median"},
    {"method": "dvt", "views": 3, "steps": 2},
    {"method": "test_time_registers", "neurons": [[0, 3]]},
    {"method": "position_subspace", "images": 8, "then": {"method": "views", "views": 3}},
]


def test_each_denoiser_is_a_row_of_its_own(labelled_world: LabelledWorld) -> None:
    config, prepared = labelled_world.config, labelled_world.prepared
    found = []
    for options in ROWS:
        row = TeacherRow.model_validate({"name": "a row", "read_out": "naclip", **options})
        found.append(measure(config, prepared, teacher_method(row, 0)))
    assert len({tuple(measured.digests.values()) for measured in found}) == len(ROWS)
    assert all(not measured.failures for measured in found)
    assert len({measured.scores["depth RMSE"] for measured in found}) == len(ROWS)


def test_what_left_images_out_is_measured_again(
    labelled_world: LabelledWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        set_contents, "SAMPLED_IMAGES", 1
    )  # as of a large set: the broken image is not looked at
    image = labelled_world.images("test")[-1]
    whole = image.read_bytes()
    image.write_bytes(b"no image")
    assert labelled_world.measured()["scenes skipped"] == 1
    image.write_bytes(whole)
    mended = labelled_world.measured()
    assert not mended.get("scenes skipped")
    monkeypatch.setattr(methods, "measure_column", lambda *_: pytest.fail("measured again"))
    assert labelled_world.measured() == mended


def test_a_text_tower_is_loaded_once_a_measuring_where_the_network_is(
    labelled_world: LabelledWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, moved = labelled_world.prepared, []
    monkeypatch.setattr(TextTower, "to", lambda tower, device: moved.append((tower.digest, device)) or tower)
    loaded = count_calls(monkeypatch, columns, "load_text")
    first = measure(labelled_world.config, prepared, labelled_world.teacher)
    assert len(loaded) == len(moved) == 1
    weights = labelled_world.folder / "clip" / "open_clip_model.safetensors"
    state = safetensors.torch.load_file(weights)
    safetensors.torch.save_file({**state, "text_projection": -state["text_projection"]}, weights)
    other = measure(labelled_world.config, labelled_world.prepared, labelled_world.teacher)
    assert len(loaded) == 3  # one of them to prepare
    assert [device for _, device in moved] == ["cpu"] * 2
    assert moved[0][0] != moved[1][0]
    assert other.scores["scenes mIoU"] != first.scores["scenes mIoU"]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are no longer too new to be told by their times."""
    monkeypatch.setattr(set_contents, "SETTLED_NS", 0)


@pytest.mark.usefixtures("settled")
def test_what_is_measured_is_found_without_a_worker_a_model_or_an_image(
    labelled_world: LabelledWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, prepared = labelled_world.config, labelled_world.prepared
    names = {row.read_out: teacher_method(row, 0) for row in READ_OUTS}
    first = {name: measure(config, prepared, method) for name, method in names.items()}
    assert first["naclip"].digests != first["value"].digests
    asked = ask_instead(monkeypatch)
    assert {name: measure(config, prepared, method) for name, method in names.items()} == first
    assert not asked


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("part", ["images", "labels", "classes.txt"])
def test_a_set_that_changes_is_looked_at_again(
    labelled_world: LabelledWorld, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Also a file put in place of another with its size and times."""
    config, prepared = labelled_world.config, labelled_world.prepared
    measure(config, prepared, labelled_world.teacher)
    place = labelled_world.folder / "scenes" / "test" / part
    file = place if place.is_file() else sorted(place.iterdir())[-1]
    stat, data = file.stat(), file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    asked = ask_instead(monkeypatch)
    measure(config, prepared, labelled_world.teacher)
    assert len(asked) == 1


def test_a_set_that_was_written_just_now_is_not_known_by_its_times(
    labelled_world: LabelledWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_contents, "SETTLED_NS", 10**15)
    config, prepared = labelled_world.config, labelled_world.prepared
    measure(config, prepared, labelled_world.teacher)
    asked = ask_instead(monkeypatch)
    measure(config, prepared, labelled_world.teacher)
    assert len(asked) == 1


def ask_instead(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The functions that a cluster is asked to run from now on; none runs."""
    asked: list[Any] = []
    monkeypatch.setattr(methods, "on_cluster", lambda config, function, *_: asked.append(function))
    return asked


def count_calls(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[tuple]:
    """The arguments of each call of a module's function from now on."""
    calls: list[tuple] = []
    function = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args: calls.append(args) or function(*args))
    return calls


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[PhregError], None]:
    """Makes the measuring of the probe of classes fail."""

    def fail_with(error: PhregError) -> None:
        def measure_column(column: Any, *arguments: Any) -> dict[str, float]:
            if column.name == "labels":
                raise error
            return columns.measure_column(column, *arguments)

        monkeypatch.setattr(methods, "measure_column", measure_column)

    return fail_with


def test_a_column_that_fails_keeps_no_other_from_being_measured(
    labelled_world: LabelledWorld, failing: Callable[[PhregError], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(DataError("no label counts"))
    arguments = labelled_world.config, labelled_world.prepared, labelled_world.teacher
    found = measure(*arguments)
    assert found.failures == {"labels": "no label counts"}
    assert {"scenes mIoU", "depth RMSE"} <= set(found.scores)
    assert not any(name.startswith("labels ") for name in found.scores)
    monkeypatch.setattr(methods, "measure_column", columns.measure_column)
    again = count_calls(monkeypatch, methods, "measure_column")
    mended = measure(*arguments)
    assert [column.name for column, *_ in again] == ["labels"]
    assert not mended.failures
    assert mended.scores.items() >= found.scores.items()


def test_what_may_pass_is_not_taken_for_a_failure_of_a_column(
    labelled_world: LabelledWorld, failing: Callable[[PhregError], None]
) -> None:
    failing(StorageError("no answer"))
    with pytest.raises(StorageError, match="no answer"):
        labelled_world.measured()
