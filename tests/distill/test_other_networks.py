"""Students that are another network than their teacher: tiny Evas and ViTs, from a tiny DINOv2's targets."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from phreg.cache import TargetSpec, TargetStore
from phreg.config.run import StudentConfig
from phreg.config.stages import EvaluationConfig
from phreg.distill.job import StudentJob
from phreg.distill.student import build_student, new_student
from phreg.distill.trainer import train_student
from phreg.errors import ModelError, TrainingError
from phreg.evaluate import evaluate_model
from phreg.models import Student, hub_files, load_backbone, load_student, timm_snippet
from phreg.models.snippet import connector_snippet
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.models.tiny_families import tiny

FAMILIES = ("DINOv3", "SigLIP", "CLIP")  # rotary; 16 pixels without a class token; a projection


def other_job(folder: Path, family: str = "DINOv3", **student: Any) -> StudentJob:
    """Targets are 4 x 4 patches of 8 pixels; the student has 16 pixels a patch, and another width."""
    place = Folder(str(folder / "start"))
    for name, data in hub_files(load_backbone(tiny(family))).items():
        place.write(name, data)
    job = make_job(folder, model=f"local-dir:{place.url}", **student)
    start = build_student(dataclasses.replace(job, start=ANY), spec_of(job)).start
    return dataclasses.replace(job, start=start)


class _Any(str):
    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


ANY = _Any()


def spec_of(job: StudentJob) -> TargetSpec:
    return TargetStore.open(Folder(job.cache_url), job.target_digest).spec


@pytest.mark.parametrize("family", FAMILIES)
def test_another_network_learns_the_targets(family: str, tmp_path: Path) -> None:
    job = other_job(tmp_path, family, epochs=4, registers="none")
    report = train_student(job, Folder(str(tmp_path / "out")))
    curve = [json.loads(line) for line in (Path(report.url) / "curve.jsonl").read_text().splitlines()]
    losses = [point["total"] for point in curve if point["split"] == "train"]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
    student = load_student(f"{report.url}/model")
    assert student.connector is not None
    spec = spec_of(job)
    assert student.target_shape == (*spec.grid_size, spec.dim)


def test_everything_learns_by_default_and_the_connector_too(tmp_path: Path) -> None:
    job = other_job(tmp_path)
    student = build_student(job, spec_of(job))
    assert all(parameter.requires_grad for parameter in student.parameters())
    some = dataclasses.replace(job, student=job.student.model_copy(update={"unlock": ("registers",)}))
    frozen = build_student(some, spec_of(job))
    learning = [name for name, parameter in frozen.named_parameters() if parameter.requires_grad]
    assert learning == ["vit.reg_token", "connector.weight", "connector.bias"]


def test_interrupted_and_gone_on_with_it_is_bitwise_the_same(tmp_path: Path) -> None:
    job = other_job(tmp_path)
    whole = train_student(job, Folder(str(tmp_path / "whole")))

    def stop(progress: Any) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_student(job, Folder(str(tmp_path / "parts")), on_progress=stop)
    parts = train_student(job, Folder(str(tmp_path / "parts")))
    assert parts.resumed_from == 4
    for name in ("model.safetensors", "connector.safetensors", "config.json"):
        one, other = (Folder(report.url).read(f"model/{name}") for report in (whole, parts))
        assert one == other


_STOCK = """
import sys
sys.modules["phreg"] = None
import torch
if torch.version.cuda is None and torch.version.hip is None:  # torchvision of the index, a CPU's torch
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
given = torch.load("given.pt", weights_only=True)
images = given["images"]
exec(open("snippet.py").read())
torch.testing.assert_close(features, given["features"], rtol=0, atol=1e-5)
torch.testing.assert_close(as_teacher, given["connected"], rtol=0, atol=1e-5)
print("same")
"""


def test_it_is_a_stock_timm_model_with_a_linear_map_beside_it(tmp_path: Path) -> None:
    """In a process without phreg, by the lines of the model card."""
    job = other_job(tmp_path)
    student = build_student(job, spec_of(job))
    for name, data in hub_files(student).items():
        (tmp_path / name).write_bytes(data)
    assert set(load_file(tmp_path / "connector.safetensors")) == {"weight", "bias"}
    images = torch.randn(2, 3, *student.image_size)
    with torch.no_grad():
        features = student(images)
        connected = student.connector.channels(features)  # type: ignore[union-attr]
    flat = {"features": features, "connected": connected}
    given = {"images": images} | {name: part.flatten(2).transpose(1, 2) for name, part in flat.items()}
    torch.save(given, tmp_path / "given.pt")
    lines = [timm_snippet(student, "."), connector_snippet(student, ".")]
    (tmp_path / "snippet.py").write_text(
        "with torch.no_grad():\n    " + "\n".join(lines).replace("\n", "\n    ")
    )
    done = subprocess.run(
        [sys.executable, "-c", _STOCK], capture_output=True, text=True, cwd=tmp_path, timeout=240
    )
    assert done.stdout.strip() == "same", done.stderr[-2000:]


def test_its_features_are_measured_as_they_are_and_cosines_after_the_connector(tmp_path: Path) -> None:
    job = other_job(tmp_path)
    student, store = (
        build_student(job, spec_of(job)),
        TargetStore.open(Folder(job.cache_url), job.target_digest),
    )
    urls = [shard.url for shard in job.validation]
    settings = EvaluationConfig(images=4, shifts=2, max_shift=0.5)
    found = evaluate_model(student, store, urls, settings, teacher=_no_teacher)
    assert {"target_cosine_p50", "shift_cosine_mean"} <= set(found.metrics)
    assert "class_token_cosine" not in found.metrics
    with torch.no_grad():
        student.connector.weight.mul_(-1)  # type: ignore[union-attr]
    again = evaluate_model(student, store, urls, settings, teacher=_no_teacher)
    assert again.digest != found.digest
    assert again.metrics["shift_cosine_mean"] == found.metrics["shift_cosine_mean"]
    assert again.metrics["target_cosine_p50"] == pytest.approx(-found.metrics["target_cosine_p50"], abs=0.3)


def _no_teacher() -> Any:
    raise AssertionError("class tokens of two networks do not compare")


def test_the_grid_is_resampled_bilinearly(tmp_path: Path) -> None:
    job = other_job(tmp_path)
    student = build_student(job, spec_of(job))
    assert student.grid_size == (2, 2)
    features = torch.randn(1, student.out_dim, 2, 2)
    connector = student.connector
    assert connector is not None
    mapped = torch.einsum("tc,bcyx->btyx", connector.weight, features) + connector.bias[:, None, None]
    expected = functional.interpolate(mapped, student.target_shape[:2], mode="bilinear", align_corners=False)
    torch.testing.assert_close(student.as_targets(features), expected)


def test_crops_of_a_size_that_its_patch_does_not_divide_are_made_smaller(tmp_path: Path) -> None:
    job = other_job(tmp_path)
    student = build_student(job, spec_of(job))
    crops = torch.zeros(1, 40, 40, 3, dtype=torch.uint8)
    assert student.normalize(crops).shape == (1, 3, 32, 32)
    same = torch.randint(0, 255, (1, 32, 32, 3), dtype=torch.uint8)
    plain = (same.permute(0, 3, 1, 2).float() / 255 - student.mean[:, None, None]) / student.std[
        :, None, None
    ]
    assert torch.equal(student.normalize(same), plain)


def test_a_students_identity_is_that_of_the_network_it_starts_from(tmp_path: Path) -> None:
    """Not of where that lies; and without one it is what it was."""
    job = other_job(tmp_path)
    plain = make_job(tmp_path / "plain")
    assert "start" not in plain.identity
    assert not {"model", "checkpoint", "checkpoint_key"} & set(plain.identity["student"])
    moved = job.student.model_copy(update={"model": "local-dir:elsewhere"})
    assert dataclasses.replace(job, student=moved).digest == job.digest
    assert dataclasses.replace(job, start="another").digest != job.digest


def test_another_start_than_the_prepared_one_is_refused(tmp_path: Path) -> None:
    job = other_job(tmp_path)
    with pytest.raises(TrainingError, match="is not the network that the student a is to start from"):
        build_student(dataclasses.replace(job, start="0" * 64), spec_of(job))


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"model": "timm/vit_smal_patch16_224"}, "no model 'vit_smal_patch16_224'"),
        ({"model": "timm/resnet18"}, "no plain ViT"),
        ({"model": "timm/vit_base_patch32_224", "read_out": "value", "checkpoint": "nowhere.pth"}, "nowhere"),
    ],
)
def test_what_cannot_be_a_student_is_said_at_the_start(
    student: dict[str, Any], message: str, tmp_path: Path
) -> None:
    job = make_job(tmp_path, **student)
    with pytest.raises(Exception, match=message):
        build_student(job, spec_of(job))


def test_patches_larger_than_the_image_are_refused(tmp_path: Path) -> None:
    job = other_job(tmp_path, "CLIP with QuickGELU, 32 pixels")
    teacher = load_backbone(job.teacher.model, image_size=16)
    with pytest.raises(ModelError, match="16 x 16 pixels cannot be cut into patches of 32"):
        new_student(teacher, job.student)


def test_a_read_out_that_it_does_not_have_is_refused(tmp_path: Path) -> None:
    job = other_job(tmp_path, "differential attention")
    wanted = job.student.model_copy(update={"read_out": "value"})
    with pytest.raises(ModelError, match="read-out 'value' needs a plain last block"):
        build_student(dataclasses.replace(job, student=wanted), spec_of(job))


def test_a_checkpoint_without_its_model_is_refused() -> None:
    with pytest.raises(ValueError, match="a student's checkpoint is that of its `model`"):
        StudentConfig(name="a", targets="raw", checkpoint="weights.safetensors")


def test_a_damaged_connector_is_named(tmp_path: Path) -> None:
    job = other_job(tmp_path)
    student: Student = build_student(job, spec_of(job))
    for name, data in hub_files(student).items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "connector.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"connector\.safetensors does not fit"):
        load_student(str(tmp_path))
