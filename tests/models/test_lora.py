"""LoRA: what learns is of low rank, and what is saved is a stock timm model."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from phreg.cache import TargetStore
from phreg.distill.student import build_student
from phreg.distill.trainer import train_student
from phreg.errors import ModelError
from phreg.models import Student, add_registers, hub_files, load_backbone, load_student
from phreg.models.lora import merged
from phreg.storage import Folder
from tests.distill.jobs import make_job
from tests.models.tiny_families import tiny

FAMILIES = ("DINOv2, 14 pixels", "CLIP", "DINOv3", "EVA-02", "DINOv2 giant", "two branches at a time")


def student_of(family: str, *unlock: str) -> Student:
    return add_registers(load_backbone(tiny(family)), 2, read_out="standard").unlock(unlock, seed=1)


def images_for(student: Student) -> torch.Tensor:
    return torch.randn(2, 3, *student.image_size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_starts_at_the_teacher_and_is_saved_without_a_trace(family: str, tmp_path: Path) -> None:
    student, plain = student_of(family, "registers", "lora:3"), student_of(family, "registers")
    images = images_for(student)
    assert torch.equal(student(images), plain(images))
    for name, parameter in student.named_parameters():
        if name.endswith("up"):
            parameter.data.normal_(std=0.1, generator=torch.Generator().manual_seed(2))
    changed = student(images)
    assert not torch.allclose(changed, plain(images), atol=1e-3)
    for name, data in hub_files(student).items():
        (tmp_path / name).write_bytes(data)
    assert set(merged(student.vit).state_dict()) == set(plain.vit.state_dict())
    torch.testing.assert_close(load_student(str(tmp_path))(images), changed, rtol=0, atol=1e-5)
    timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert torch.equal(student(images), changed), "saving changed it"


def test_attention_and_mlp_change_by_no_more_than_the_rank() -> None:
    student = student_of("DINOv2, 14 pixels", "lora:2")
    learning = [name for name, parameter in student.vit.named_parameters() if parameter.requires_grad]
    parts = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    known = [f"blocks.{i}.{part}.{side}" for i in range(2) for part in parts for side in ("down", "up")]
    assert sorted(learning) == sorted(known)
    before = student_of("DINOv2, 14 pixels", "registers").vit.blocks[0].mlp.fc1.weight
    student(images_for(student)).square().sum().backward()
    with torch.no_grad():
        for parameter in student.vit.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    change = student.vit.blocks[0].mlp.fc1.weight - before
    assert torch.linalg.matrix_rank(change.detach(), atol=1e-3) == 2


def test_distilled_and_resumed_bitwise(tmp_path: Path) -> None:
    job = make_job(tmp_path, unlock=("registers", "lora:4"), epochs=2)
    whole = train_student(job, Folder(str(tmp_path / "whole")))

    def stop(progress: Any) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_student(job, Folder(str(tmp_path / "parts")), on_progress=stop)
    parts = train_student(job, Folder(str(tmp_path / "parts")))
    assert parts.resumed_from == 4
    weights = [Folder(report.url).read("model/model.safetensors") for report in (whole, parts)]
    assert weights[0] == weights[1]
    spec = TargetStore.open(Folder(job.cache_url), job.target_digest).spec
    start = merged(build_student(job, spec).vit).state_dict()
    end = load_student(f"{whole.url}/model").vit.state_dict()
    moved = {name for name, tensor in end.items() if not torch.equal(tensor, start[name])}
    assert moved == {"reg_token"} | {
        name
        for name in end
        if name.endswith(("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight")) and "blocks" in name
    }
    other = dataclasses.replace(
        job, student=job.student.model_copy(update={"unlock": ("registers", "lora:5")})
    )
    assert other.digest != job.digest


@pytest.mark.parametrize("name", ["lora:", "lora:0", "lora:-1", "lora:many", "lora:1.5"])
def test_a_rank_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="rank of"):
        student_of("DINOv2, 14 pixels", name)


def test_a_rank_that_is_not_low_is_refused() -> None:
    with pytest.raises(ModelError, match="a rank below 32"):
        student_of("DINOv2, 14 pixels", "lora:32")
