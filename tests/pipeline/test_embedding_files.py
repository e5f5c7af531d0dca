"""Class names as vectors in a file: of all sets or of one, refused early, part of what a score depends on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from phreg.config.run import RunConfig, load_config, parse_config
from phreg.errors import ConfigError, ObjectNotFoundError
from phreg.pipeline.methods import measure
from phreg.pipeline.prepare import prepare
from tests.pipeline.conftest import LabelledWorld

DIM = 16  # of the features


def named_by(
    world: LabelledWorld, text: str | None = None, of_set: str | None = None, **change: Any
) -> RunConfig:
    fields = world.config.model_dump(mode="json")
    fields["labels"] |= {"text": text, "probes": []}
    fields["labels"]["sets"][0] |= {"text": of_set, **change}
    return parse_config(fields)


def vectors(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


@pytest.fixture
def classes(labelled_world: LabelledWorld) -> list[str]:
    found = next(labelled_world.folder.rglob("classes.txt")).read_text().splitlines()
    return [line.split(",")[0] for line in found]


def score(world: LabelledWorld, config: RunConfig) -> dict[str, float]:
    return measure(config, prepare(config), world.teacher).scores


def test_rows_and_names_give_the_same_scores(labelled_world: LabelledWorld, classes: list[str]) -> None:
    rows = vectors(len(classes))
    np.save(labelled_world.folder / "a.npy", rows)
    save_file(dict(zip(classes, 3 * rows, strict=True)), labelled_world.folder / "a.safetensors")
    by_row = score(labelled_world, named_by(labelled_world, str(labelled_world.folder / "a.npy")))
    by_name = score(
        labelled_world, named_by(labelled_world, of_set=str(labelled_world.folder / "a.safetensors"))
    )
    assert by_row == by_name
    assert by_row["scenes mIoU"] != score(labelled_world, named_by(labelled_world))["scenes mIoU"]


def test_other_vectors_in_the_same_file_are_measured_again(
    labelled_world: LabelledWorld, classes: list[str]
) -> None:
    config = named_by(labelled_world, str(labelled_world.folder / "a.npy"))
    np.save(labelled_world.folder / "a.npy", vectors(len(classes)))
    first = score(labelled_world, config)
    np.save(labelled_world.folder / "a.npy", vectors(len(classes), seed=1))
    assert score(labelled_world, config) != first


@pytest.mark.parametrize(
    ("count", "dim", "said"), [(3, DIM, "not of these classes.*rows.*3"), (None, 8, "space.*16.*8")]
)
def test_what_does_not_fit_is_refused_before_the_run(
    labelled_world: LabelledWorld, classes: list[str], count: int | None, dim: int, said: str
) -> None:
    np.save(labelled_world.folder / "a.npy", vectors(count or len(classes), dim=dim))
    with pytest.raises(ConfigError, match=f"(?s)scenes cannot be measured.*{said}"):
        prepare(named_by(labelled_world, str(labelled_world.folder / "a.npy")))


def test_a_file_that_is_not_there_is_refused_before_the_run(labelled_world: LabelledWorld) -> None:
    with pytest.raises(ObjectNotFoundError, match=r"gone\.npy"):
        prepare(named_by(labelled_world, of_set=str(labelled_world.folder / "gone.npy")))


def test_mean_over_the_classes_that_are_there(labelled_world: LabelledWorld, classes: list[str]) -> None:
    np.save(labelled_world.folder / "a.npy", vectors(len(classes)))
    text = str(labelled_world.folder / "a.npy")
    found = score(labelled_world, named_by(labelled_world, text, segmentation={"min_images": 2}))
    every = score(labelled_world, named_by(labelled_world, text))
    assert 0 < found["scenes classes in mIoU"] < len(classes)
    assert "scenes classes in mIoU" not in every
    assert found["scenes pixel accuracy"] == every["scenes pixel accuracy"]


def test_relative_paths_are_made_absolute(
    labelled_world: LabelledWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = named_by(labelled_world, "a.npy", "b.safetensors")
    (tmp_path / "run.yaml").write_text(config.model_dump_json())
    monkeypatch.chdir(tmp_path)
    labels = load_config("run.yaml").labels
    assert (labels.text, labels.sets[0].text) == (str(tmp_path / "a.npy"), str(tmp_path / "b.safetensors"))
