"""What rules on labelled sets are judged by: who is measured, on what, and what is taken from store."""

from types import SimpleNamespace

import pytest

from phreg.config.gate import GateConfig
from phreg.models import hub_files, load_teacher
from phreg.pipeline import columns, methods
from phreg.pipeline.gate_evidence import labelled_sides
from phreg.pipeline.methods import Labelled, Method, baselines, measure, read_as_students
from phreg.pipeline.prepare import prepare
from tests.pipeline.conftest import LabelledWorld

RULES = [{"metric": "scenes.miou"}, {"metric": "scenes.miou", "against": "champion", "not_worse_than": 1}]


def with_rules(world: LabelledWorld, *rules: dict) -> LabelledWorld:
    gate = GateConfig.model_validate({"rules": rules})
    return LabelledWorld(world.folder, world.config.model_copy(update={"gate": gate}))


def saved(world: LabelledWorld, read_out: str) -> str:
    """The teacher as a folder of its own."""
    folder = world.folder / f"saved-{read_out}"
    folder.mkdir()
    network = load_teacher(world.config.teacher.model_copy(update={"read_out": read_out}))
    for name, data in hub_files(network).items():
        (folder / name).write_bytes(data)
    return str(folder)


def test_the_teacher_is_also_measured_as_its_students_are_read(labelled_world: LabelledWorld) -> None:
    ruled = with_rules(labelled_world, *RULES)
    prepared = prepare(ruled.config)
    assert prepared.read_outs == {"one": "value"}
    assert [(m.name, m.read_out) for m in read_as_students(ruled.config, prepared)] == [
        ("teacher, read as value", "value")
    ]
    only_champion = with_rules(labelled_world, RULES[1])
    assert not read_as_students(only_champion.config, prepared)
    assert not read_as_students(labelled_world.config, prepared)


def test_students_are_held_against_both_teachers_and_the_champion_on_the_same_images(
    labelled_world: LabelledWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruled = with_rules(labelled_world, *RULES)
    config, prepared = ruled.config, prepare(ruled.config)
    student = Method("one", 0, saved(ruled, "value"))
    labelled = Labelled()
    for method in (*baselines(config), *read_as_students(config, prepared), student):
        labelled = labelled.add(method, measure(config, prepared, method))
    champion = SimpleNamespace(url=saved(ruled, "qq"))
    measured = []

    def measure_column(column, *rest):  # type: ignore[no-untyped-def]
        measured.append(column.name)
        return columns.measure_column(column, *rest)

    monkeypatch.setattr(methods, "measure_column", measure_column)
    sides = labelled_sides(config, prepared, labelled, "one", champion)
    assert measured == ["scenes"], "the champion, and on the sets of its rules alone"
    assert sides is not None
    assert [side.whose for side in sides.teacher] == ["the teacher's (as naclip)", "the teacher's (as value)"]
    every = [sides.student, *sides.teacher, *sides.champion]
    keys = [path.stem for path in ruled.images("test")]
    assert [list(side.counts["scenes"].keys) for side in every] == [keys] * 4
    as_value = sides.teacher[1].counts["scenes"].counts
    assert (sides.student.counts["scenes"].counts == as_value).all(), "the student is the teacher"
    assert (sides.champion[0].counts["scenes"].counts != as_value).any()
    again = labelled_sides(config, prepared, labelled, "one", champion)
    assert measured == ["scenes"]
    assert again is not None
    assert (again.champion[0].counts["scenes"].counts == sides.champion[0].counts["scenes"].counts).all()
    assert labelled_sides(config, prepared, labelled, "one", None).champion == ()  # type: ignore[union-attr]


def test_a_champion_that_cannot_be_loaded_is_said_to_be_so(labelled_world: LabelledWorld) -> None:
    ruled = with_rules(labelled_world, *RULES)
    url = saved(ruled, "qq")
    (ruled.folder / "saved-qq" / "model.safetensors").write_bytes(b"rotten")
    sides = labelled_sides(ruled.config, prepare(ruled.config), None, "one", SimpleNamespace(url=url))
    assert sides is not None
    assert not sides.champion[0].counts
    assert "model.safetensors" in sides.champion[0].failures["scenes"]


def test_a_teacher_that_could_not_be_measured_is_not_passed_over(labelled_world: LabelledWorld) -> None:
    ruled = with_rules(labelled_world, *RULES)
    config, prepared = ruled.config, prepare(ruled.config)
    own = baselines(config)[0]
    sides = labelled_sides(config, prepared, Labelled().add(own, measure(config, prepared, own)), "one", None)
    assert sides is not None
    assert [set(side.counts) for side in sides.teacher] == [{"scenes"}, set()]


def test_without_rules_or_their_sets_there_is_nothing_to_judge_by(labelled_world: LabelledWorld) -> None:
    plain = prepare(labelled_world.config)
    assert labelled_sides(labelled_world.config, plain, None, "one", None) is None
    ruled = with_rules(labelled_world, *RULES)
    (ruled.folder / "scenes" / "test").rename(ruled.folder / "elsewhere")
    (ruled.folder / "scenes" / "train").rename(ruled.folder / "elsewhere-too")
    (ruled.folder / "scenes").rmdir()
    assert labelled_sides(ruled.config, prepare(ruled.config), None, "one", None) is None
