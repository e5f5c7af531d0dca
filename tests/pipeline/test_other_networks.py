"""A student of another family through the stages of a run: targets, training, measures, registry, page."""

from pathlib import Path

import pytest

from phreg.cache import TargetStore
from phreg.config.run import RunConfig, load_config
from phreg.distill.trainer import train_student
from phreg.errors import PhregError
from phreg.generate import TargetGenerator
from phreg.models import hub_files, load_backbone, load_student, load_teacher
from phreg.pipeline import assess, page
from phreg.pipeline.page import make_page
from phreg.pipeline.plan import make_plan
from phreg.pipeline.prepare import prepare
from phreg.pipeline.register import register_student
from phreg.pipeline.students import student_job
from phreg.registry import Registry
from phreg.storage import Folder
from tests.models.tiny_families import tiny
from tests.small_run import write_config


def config_of(folder: Path, **student: object) -> RunConfig:
    (folder / "start").mkdir()
    for name, data in hub_files(load_backbone(tiny("DINOv3", depth=1))).items():
        (folder / "start" / name).write_bytes(data)
    one = {"name": "one", "targets": "denoised", "registers": 2, "batch_size": 4, "epochs": 2}
    students = [one | {"model": f"local-dir:{folder / 'start'}"} | student, one | {"name": "plain"}]
    gate = {"rules": [{"metric": "target_cosine_p50", "against": "teacher"}]}
    config = load_config(write_config(folder, students=students, gate=gate))
    teacher = config.teacher.model_copy(update={"read_out": "naclip"})
    return config.model_copy(update={"teacher": teacher})


def test_from_targets_to_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (assess, page):
        monkeypatch.setattr(module, "on_cluster", lambda config, function, *args: function(*args))
    config = config_of(tmp_path)
    assert [student.steps for student in make_plan(config).students] == [4, 4]
    prepared = prepare(config)
    assert set(prepared.starts) == {"one"}
    assert prepared.read_outs == {"one": "naclip", "plain": "standard"}, "a connector leads to the teacher's"
    teacher = load_teacher(config.teacher)
    store = TargetStore.open(Folder(config.cache_url), prepared.targets["denoised"])
    for url in (*prepared.train, *prepared.validation):
        TargetGenerator(lambda: teacher, store).generate(url)
    student = config.students[0]
    report = train_student(student_job(config, prepared, student), Folder(config.output))
    assert [planned.done for planned in make_plan(config).students] == [True, False]
    assert "start" not in student_job(config, prepared, config.students[1]).identity
    assessment = assess.assess_student(config, prepared, report)
    before = assess.assess_teacher(config, prepared)
    assert {"target_cosine_p50", "shift_cosine_mean"} <= set(assessment.evaluation.metrics)
    registered = register_student(config, prepared, student, report, before, assessment)
    entry = Registry(Folder(config.registry_url)).entry(config.name, registered.version)
    assert "connector.safetensors" in entry.record.files
    entry.verify()
    card = entry.read("README.md").decode()
    assert 'load_file("./connector.safetensors")' in card
    assert "started from" in card
    made = load_student(entry.url)
    assert made.connector is not None
    assert made.connector.target_shape == (*teacher.grid_size, teacher.out_dim)
    assert "another read-out" not in registered.reason
    assert Path(make_page(config, prepared, registered, assessment).url).exists()


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"model": "timm/vit_smal_patch16_224"}, "timm has no model"),
        ({"model": "local-dir:nowhere"}, "nowhere"),
        ({"read_out": "value", "model": "phreg/small-clip", "unlock": ["blocks.77.*"]}, "Nothing to unlock"),
    ],
)
def test_what_cannot_be_a_student_is_said_before_anything_starts(
    student: dict[str, object], message: str, tmp_path: Path
) -> None:
    config = config_of(tmp_path, **student)
    with pytest.raises(PhregError, match=message):
        prepare(config)
    assert not Path(config.output).exists()
