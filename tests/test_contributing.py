"""The worked example of CONTRIBUTING.md works as it stands there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import phreg
from phreg.config.model import ReadOut
from phreg.distill import optimizer
from phreg.distill.curve import curve_from_jsonl
from phreg.distill.progress import StudentProgress
from phreg.distill.trainer import train_student
from phreg.evaluate.curve import draw_curve
from phreg.method.loss import TERMS
from phreg.models import hub_files, timm_snippet
from phreg.models.read_outs import READ_OUTS
from phreg.pipeline.page_content import curves
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.helpers import tiny_clip

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text()


READ_OUT, TERM, OPTIMIZER = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def as_before() -> Iterator[None]:
    tables: tuple[dict[str, Any], ...] = (READ_OUTS, TERMS)
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


def test_configs_know_the_read_outs() -> None:
    assert set(get_args(ReadOut)) == set(READ_OUTS)


def test_the_modules_it_names_are_there() -> None:
    root = Path(phreg.__file__).parent
    named = set(re.findall(r"`(?:phreg/)?((?:[a-z_]+/)*[a-z_]+\.py)`", TEXT.partition("## The house")[2]))
    elsewhere = ("tests/", "families/__init__", "cityscapes", "open.py")
    absent = [name for name in named if not name.startswith(elsewhere) and not (root / name).is_file()]
    assert sorted(absent) == []
