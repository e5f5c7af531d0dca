import pytest
import torch

from phreg.errors import ModelError
from phreg.models import Student, add_registers, graphs, load_backbone
from phreg.models.graphs import FromPixels, as_onnx, as_torch_export, run_onnx, run_torch_export
from tests.helpers import tiny_clip
from tests.models.tiny_families import tiny


def a_student(vit: object, read_out: str) -> Student:
    return add_registers(load_backbone(vit, mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7]), 2, read_out=read_out)


def test_both_graphs_give_the_students_features() -> None:
    """One image and several, under the read-out, from pixels that nobody has normalised."""
    student = a_student(tiny_clip(depth=1), "naclip")
    onnx, exported = run_onnx(as_onnx(student)), run_torch_export(as_torch_export(student))
    for batch in (1, 3):
        images = torch.rand(batch, 3, 64, 64, generator=torch.Generator().manual_seed(batch))
        expected = student((images - student.mean[:, None, None]) / student.std[:, None, None])
        torch.testing.assert_close(onnx(images), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(exported(images), expected, rtol=0, atol=1e-6)


def test_rotary_positions_are_in_the_graph() -> None:
    student = a_student(tiny("DINOv3", depth=1), "standard")
    images = torch.rand(2, 3, *student.image_size)
    torch.testing.assert_close(
        run_onnx(as_onnx(student))(images), FromPixels(student)(images), rtol=0, atol=1e-5
    )


def test_a_network_too_large_for_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MOST_ONNX_BYTES", 1000)
    with pytest.raises(ModelError, match="too large for one ONNX file"):
        as_onnx(a_student(tiny_clip(), "value"))
