"""The report page of a registered student: made once, from what is registered, and again if that changes."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from phreg.cache import TargetStore
from phreg.cli.main import main
from phreg.config.run import RunConfig, load_config
from phreg.distill.curve import CurvePoint, curve_to_jsonl
from phreg.distill.result import StudentReport
from phreg.distill.student import new_student
from phreg.errors import DataError
from phreg.generate import TargetGenerator
from phreg.models import Backbone, hub_files, load_teacher
from phreg.pipeline import assess, page
from phreg.pipeline.page import add_section, make_page, write_page
from phreg.pipeline.page_content import measures_table
from phreg.pipeline.prepare import Prepared, prepare
from phreg.pipeline.register import Registered, register_student
from phreg.registry import Entry, Registry
from phreg.report import Cell, Section, Table
from phreg.storage import Folder
from phreg.storage.checksummed import from_checksummed_json, to_checksummed_json
from tests.small_run import write_config


@dataclass(frozen=True)
class World:
    config: RunConfig
    prepared: Prepared
    registered: Registered
    assessment: assess.Assessment

    @property
    def registry(self) -> Registry:
        return Registry(Folder(self.config.registry_url))

    @property
    def entry(self) -> Entry:
        return self.registry.entry(self.config.name, self.registered.version)

    def make(self, figures: int = 1) -> page.PageReport:
        changed = self.config.evaluation.model_copy(update={"figures": figures})
        config = self.config.model_copy(update={"evaluation": changed})
        return make_page(config, self.prepared, self.registered, self.assessment)


@pytest.fixture(scope="module")
def registered_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A student registered as `phreg run` does it, but untrained and without a cluster."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        for module in (assess, page):
            patch.setattr(module, "on_cluster", lambda config, function, *args: function(*args))
        evaluation = {"images": 4, "shifts": 2, "figures": 0}
        targets = {"denoised": {"views": 4, "variance": True}}
        config = load_config(write_config(folder, evaluation=evaluation, targets=targets))
        prepared = prepare(config)
        teacher = load_teacher(config.teacher)
        store = TargetStore.open(Folder(config.cache_url), prepared.targets["denoised"])
        for url in (*prepared.train, *prepared.validation):
            TargetGenerator(lambda: teacher, store).generate(url)
        report = save_untrained(config, teacher, Folder(str(folder / "trained")))
        assessment = assess.assess_student(config, prepared, report)
        before = assess.assess_teacher(config, prepared)
        student = config.students[0]
        registered = register_student(config, prepared, student, report, before, assessment)
        yield World(config, prepared, registered, assessment)


def save_untrained(config: RunConfig, teacher: Backbone, folder: Folder) -> StudentReport:
    for name, data in hub_files(new_student(teacher, config.students[0])).items():
        folder.write(f"model/{name}", data)
    points = [
        CurvePoint(step, step / 2, split, {"cosine": 0.5, "mse": 0.2, "total": 0.7}, 1e-4, None)
        for step in (1, 2)
        for split in ("train", "validation")
    ]
    folder.write("curve.jsonl", curve_to_jsonl(points).encode())
    return StudentReport("one", "digest", False, 2, None, 1.0, {}, {}, folder.url)


@pytest.fixture
def world(registered_world: World, tmp_path: Path) -> World:
    """The same with a copy of the registry, to write to."""
    shutil.copytree(registered_world.config.registry_url, tmp_path / "registry")
    config = registered_world.config.model_copy(update={"registry": str(tmp_path / "registry")})
    return replace(registered_world, config=config)


def read(report: page.PageReport) -> str:
    return Path(report.url).read_text()


def test_it_shows_what_is_registered(world: World) -> None:
    made = world.make(figures=2)
    html = read(made)
    assert not made.reused
    assert made.teacher_forward_passes == 2 * (1 + 2), "an image as it is, and by two shifts"
    assert made.url == world.entry.folder.url_of("report.html")
    assert "<h1>tiny: one</h1>" in html
    assert len(re.findall("<img ", html)) == 2 * 6
    assert re.search(r"targets: standard error, \d+\.\d% of their length at the median", html)
    for value in world.entry.metrics.values():
        assert f"{value:.4f}" in html
    for digest in (*world.prepared.targets.values(), world.entry.record.student_digest):
        assert digest in html
    assert len(re.findall("<polyline ", html)) == 2 * 3
    assert "local-dir:." in html
    assert str(world.registered.reason.split(";")[0]) in html.replace("&#39;", "'")
    world.entry.verify()


def test_it_is_made_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(world.make())
    monkeypatch.setattr(page, "on_cluster", None)
    monkeypatch.setattr(page, "page_of", None)
    again = world.make()
    assert again.reused
    assert again.teacher_forward_passes == 0
    assert read(again) == first


def test_it_is_made_again_if_its_pictures_or_the_decision_change(world: World) -> None:
    one = world.make(figures=1)
    assert len(re.findall("<img ", read(one))) == 6
    more = world.make(figures=2)
    assert (more.reused, more.teacher_forward_passes) == (False, 2 * (1 + 2))
    assert len(re.findall("<img ", read(more))) == 12
    decision = world.entry.folder
    fields = from_checksummed_json(decision.read("decision.json"))
    fields["reasons"].insert(0, "a new reason")
    decision.write("decision.json", to_checksummed_json(fields))
    judged = world.make(figures=2)
    assert (judged.reused, judged.teacher_forward_passes) == (False, 0)
    assert "a new reason" in read(judged)


def test_without_figures_there_are_no_pictures_and_the_teacher_rests(world: World) -> None:
    made = world.make(figures=0)
    assert made.teacher_forward_passes == 0
    assert "<img " not in read(made)


@pytest.mark.parametrize("name", ["features.json", "report.html"])
def test_a_damaged_page_is_made_again(world: World, name: str) -> None:
    first = read(world.make())
    folder = world.entry.folder
    path = name if name == "report.html" else f"report/{name}"
    folder.write(path, b"\xff{")
    assert read(world.make()) == first


def test_a_stage_can_add_its_section_later(world: World) -> None:
    world.make()
    table = Table("Open-vocabulary segmentation", "mIoU", ("method", "scenes"), (("student", Cell("61.2")),))
    add_section(world.entry, "tables", Section("Segmentation", tables=(table,)))
    made = write_page(world.registry, world.entry)
    html = read(made)
    assert not made.reused
    assert "61.2" in html
    assert html.index("Features, before and after</h2>") < html.index("Segmentation</h2>")
    assert world.make().reused
    assert write_page(world.registry, world.entry).reused


def test_the_command_says_where_it_is_and_writes_what_is_missing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["registry", "report", world.config.registry_url, "tiny", "1"]) == 0
    assert "<h1>tiny: one</h1>" in Path(capsys.readouterr().out.strip()).read_text()


def test_a_section_that_cannot_be_read_is_named(world: World) -> None:
    world.make()
    world.entry.folder.write("report/tables.json", b"{}")
    with pytest.raises(DataError, match=r"report/tables\.json"):
        write_page(world.registry, world.entry)


def test_a_student_that_was_not_judged_has_a_page_too(world: World) -> None:
    world.entry.folder.remove("decision.json")
    assert "not judged" in read(write_page(world.registry, world.entry))


def test_only_what_the_student_does_better_is_stressed() -> None:
    student = {"outlier_rate": 0.1, "shift_cosine_mean": 0.9, "target_cosine_p50": 0.5}
    table = measures_table(student, student | {"outlier_rate": 0.2, "target_cosine_p50": 0.6})
    best = [isinstance(row[2], Cell) and row[2].best for row in table.rows]
    assert best == [True, False, False]
    alone = measures_table(student, {})
    assert not any(isinstance(cell, Cell) and cell.best for row in alone.rows for cell in row)


def test_cosines_to_another_read_out_s_targets_are_not_compared() -> None:
    student = {"shift_cosine_mean": 0.9, "target_cosine_p50": 0.7}
    teacher = {"shift_cosine_mean": 0.8, "target_cosine_p50": 0.6}
    table = measures_table(student, teacher, as_teacher=False)
    best = [isinstance(row[2], Cell) and row[2].best for row in table.rows]
    assert best == [True, False]
    assert "another read-out" in table.caption
    assert "another read-out" not in measures_table(student, teacher).caption
