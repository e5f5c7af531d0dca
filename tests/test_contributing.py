"""The worked example of CONTRIBUTING.md works as it stands there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import phreg
from phreg.config.model import ReadOut
from phreg.models import hub_files, timm_snippet
from phreg.models.read_outs import READ_OUTS
from tests.helpers import tiny_clip

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text()


@pytest.fixture
def example() -> Iterator[None]:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    before = dict(READ_OUTS)
    exec(code, {})
    yield
    READ_OUTS.clear()
    READ_OUTS.update(before)


@pytest.mark.usefixtures("example")
def test_a_read_out_of_ones_own(tmp_path: Path) -> None:
    """From denoising to the lines of stock timm that a model card shows."""
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


def test_configs_know_the_read_outs() -> None:
    assert set(get_args(ReadOut)) == set(READ_OUTS)


def test_the_modules_it_names_are_there() -> None:
    root = Path(phreg.__file__).parent
    named = set(re.findall(r"`(?:phreg/)?((?:[a-z_]+/)*[a-z_]+\.py)`", TEXT.partition("## The house")[2]))
    elsewhere = ("tests/", "families/__init__", "cityscapes", "open.py")
    absent = [name for name in named if not name.startswith(elsewhere) and not (root / name).is_file()]
    assert sorted(absent) == []
