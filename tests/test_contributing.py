"""The worked example of CONTRIBUTING.md works as it stands there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from PIL import Image

import phreg
from phreg.cache import TargetStore
from phreg.config.denoisers import KNOWN
from phreg.config.labels import LabelledSetConfig
from phreg.config.model import ReadOut
from phreg.config.reading import checked
from phreg.config.run import TargetConfig, TeacherConfig
from phreg.config.table import TeacherRow
from phreg.distill import optimizer
from phreg.distill.curve import curve_from_jsonl
from phreg.distill.progress import StudentProgress
from phreg.distill.trainer import train_student
from phreg.errors import ConfigError, PhregError
from phreg.evaluate.curve import draw_curve
from phreg.generate import target_spec
from phreg.method.denoising import DENOISERS
from phreg.method.loss import TERMS
from phreg.models import hub_files, timm_snippet
from phreg.models.read_outs import READ_OUTS
from phreg.pipeline.page_content import curves
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.helpers import tiny_clip

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text()


READ_OUT, LABELLED_SET, TERM, OPTIMIZER, DENOISER = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def as_before() -> Iterator[None]:
    tables: tuple[dict[str, Any], ...] = (READ_OUTS, TERMS, KNOWN, DENOISERS)
    before = [dict(table) for table in tables]
    make_optimizer = optimizer.make_optimizer
    yield
    optimizer.make_optimizer = make_optimizer
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


@pytest.mark.usefixtures("as_before")
def test_a_read_out_of_ones_own(tmp_path: Path) -> None:
    """From denoising to the lines of stock timm that a model card shows."""
    exec(READ_OUT, {})
    teacher = phreg.load_backbone(tiny_clip(), read_out="kk")
    images = torch.randn(2, 3, *teacher.image_size, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(teacher(images), phreg.load_backbone(tiny_clip(), read_out="qq")(images))
    target = phreg.denoise(teacher, images, phreg.sample_views(teacher.grid_size, 3))
    student = phreg.add_registers(teacher, 2, read_out="kk").unlock()
    phreg.distillation_loss(target, student(images)).total.backward()
    for name, data in hub_files(student).items():
        (tmp_path / name).write_bytes(data)
    expected = student(images).flatten(2).transpose(1, 2)
    scope: dict[str, Any] = {"images": images}
    exec(timm_snippet(student, str(tmp_path)), scope)
    torch.testing.assert_close(scope["features"], expected, rtol=1e-4, atol=1e-5)
    loaded = phreg.load_student(str(tmp_path))
    torch.testing.assert_close(loaded(images).flatten(2).transpose(1, 2), expected)


@pytest.mark.usefixtures("as_before")
def test_a_loss_term_and_an_optimiser_of_ones_own(tmp_path: Path) -> None:
    """A student learns by them, also after an interruption, and its page shows the term."""
    job = make_job(tmp_path, epochs=2, training={"checkpoint_every": 1})
    papers = train_student(job, Folder(str(tmp_path / "papers")))
    exec(TERM, {})
    exec(OPTIMIZER, {})
    whole = train_student(job, Folder(str(tmp_path / "whole")))
    assert whole.validation_loss["length"] > 0
    assert whole.validation_loss["total"] == pytest.approx(
        sum(value for name, value in whole.validation_loss.items() if name != "total")
    )
    assert whole.validation_loss["cosine"] != papers.validation_loss["cosine"]

    def interrupt(progress: StudentProgress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    output = Folder(str(tmp_path / "resumed"))
    with pytest.raises(KeyboardInterrupt):
        train_student(job, output, on_progress=interrupt)
    resumed = train_student(job, output)
    assert resumed.resumed_from
    assert resumed.validation_loss == whole.validation_loss
    curve = job.folder(output).read("curve.jsonl")
    assert draw_curve([json.loads(line) for line in curve.splitlines()]).startswith(b"\x89PNG")
    assert [shown.title for shown in curves(curve_from_jsonl(curve.decode()))][-1] == "Length"


@pytest.mark.usefixtures("as_before")
def test_a_denoiser_of_ones_own(tmp_path: Path) -> None:
    """In Python, in a config, as targets in a cache, and as a row of a table."""
    exec(DENOISER, {"__name__": "example"})
    teacher = phreg.load_backbone(tiny_clip())
    images = torch.randn(2, 3, *teacher.image_size, generator=torch.Generator().manual_seed(0))
    clean = phreg.denoise(teacher, images, method={"method": "closest", "views": 4})
    views = phreg.sample_views(teacher.grid_size, 4)
    assert not torch.allclose(clean, phreg.denoise(teacher, images, views))
    torch.testing.assert_close(
        phreg.denoise(teacher, images, method={"method": "closest", "views": 1}), teacher(images)
    )
    target = TargetConfig.model_validate({"method": "closest", "views": 4})
    assert target.denoiser.forward_passes == 4
    spec = target_spec(teacher, TeacherConfig(model="timm/x"), target, seed=0)
    store = TargetStore.create(Folder(str(tmp_path)), spec)
    assert TargetStore.open(Folder(str(tmp_path)), spec.digest).spec == store.spec
    row = TeacherRow.model_validate({"name": "mine", "read_out": "value", "method": "closest"})
    assert row.denoiser.title == "closest of 10 views"
    with pytest.raises(ConfigError, match="views"):
        checked(TargetConfig, {"method": "closest", "view": 4}, "the config")


def test_a_labelled_set_of_ones_own(tmp_path: Path) -> None:
    scope: dict[str, Any] = {}
    exec(LABELLED_SET, scope)
    for folder, name in (("photos", "a.jpg"), ("masks", "a.png")):
        (tmp_path / folder).mkdir()
        Image.new("L" if folder == "masks" else "RGB", (4, 3), 1).save(tmp_path / folder / name)
    found = scope["open_fields"](LabelledSetConfig(kind="folder", root=str(tmp_path)), tmp_path)
    assert (len(found), found.classes) == (1, (("soil",), ("wheat", "barley")))
    assert (found[0].labels == 1).all()
    (tmp_path / "masks" / "a.png").unlink()
    with pytest.raises(PhregError, match="masks"):
        scope["open_fields"](LabelledSetConfig(kind="folder", root=str(tmp_path)), tmp_path)


def test_configs_know_the_read_outs() -> None:
    assert set(get_args(ReadOut)) == set(READ_OUTS)


def test_the_modules_it_names_are_there() -> None:
    root = Path(phreg.__file__).parent
    named = set(re.findall(r"`(?:phreg/)?((?:[a-z_]+/)*[a-z_]+\.py)`", TEXT.partition("## The house")[2]))
    elsewhere = ("tests/", "families/__init__", "cityscapes", "open.py")
    absent = [name for name in named if not name.startswith(elsewhere) and not (root / name).is_file()]
    assert sorted(absent) == []
