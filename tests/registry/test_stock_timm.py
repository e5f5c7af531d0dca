"""An entry's weights load with stock timm, by the lines of its own model card, where there is no phreg."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from phreg.config.run import StudentConfig, TargetConfig, TeacherConfig
from phreg.models import Student, add_registers, hub_files, load_backbone, load_student, timm_snippet
from phreg.registry import Entry, Registry, lineage, model_card
from phreg.storage import Folder
from tests.helpers import tiny_clip, tiny_dinov2

SIZE = 48  # not the size the teacher was made for

# The package index's torchvision does not import beside a CPU-only torch unless two operators are declared.
PREAMBLE = """
import sys
import numpy as np
import torch

class NoPhreg:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "phreg":
            raise ModuleNotFoundError("there is no phreg here")

sys.meta_path.insert(0, NoPhreg())
if torch.version.cuda is None and torch.version.hip is None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
images = torch.from_numpy(np.load(sys.argv[1], allow_pickle=False))
"""
AFTERWARDS = """
try:
    import phreg
except ModuleNotFoundError:
    np.save(sys.argv[2], features.detach().numpy(), allow_pickle=False)
"""


def make_student(vit: VisionTransformer, read_out: str) -> Student:
    """A student as training leaves it: nothing in it is what it started as."""
    student = add_registers(load_backbone(vit, image_size=SIZE), 4, read_out=read_out)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in student.vit.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return student


def register(student: Student, folder: Folder) -> Entry:
    origin = lineage({}, student_digest="s", target_specs={}, train_shards={}, validation_shards={})
    card = model_card(
        model="demo",
        student=StudentConfig(name="reg4", targets="denoised", registers=4),
        teacher=TeacherConfig(model="timm/vit_tiny_patch16_224"),
        targets=TargetConfig(),
        steps=1,
        images=1,
        metrics={},
        teacher_metrics={},
        snippet=timm_snippet(student, "."),
        lineage=origin,
    )
    return Registry(folder).register(
        "demo",
        hub_files(student) | {"README.md": card.encode()},
        student="reg4",
        student_digest="s",
        metrics={},
        teacher_metrics={},
        lineage=origin,
    )


@pytest.mark.parametrize(("build", "read_out"), [(tiny_dinov2, "standard"), (tiny_clip, "value")])
def test_the_cards_lines_give_the_students_features_without_phreg(
    build: Callable[[], VisionTransformer], read_out: str, tmp_path: Path
) -> None:
    student = make_student(build(), read_out)
    entry = register(student, Folder(str(tmp_path / "registry")))
    (snippet,) = re.findall(r"```python\n(.*?)```", entry.read("README.md").decode(), re.DOTALL)
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    place = entry.folder.local_path
    np.save(place / "images.npy", images.numpy(), allow_pickle=False)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", PREAMBLE + snippet + AFTERWARDS, "images.npy", "features.npy"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = student(images).flatten(2).transpose(1, 2)
    found = torch.from_numpy(np.load(place / "features.npy", allow_pickle=False))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_an_entry_in_a_bucket_loads_and_is_the_same_student(s3_folder: Folder) -> None:
    student = make_student(tiny_clip(), "value")
    entry = register(student, s3_folder / "registry")
    loaded = load_student(Registry(s3_folder / "registry").entry("demo", 1).url)
    assert loaded.read_out == "value"
    assert loaded.weights_digest() == student.weights_digest()
    assert entry.read("model.safetensors") == hub_files(student)["model.safetensors"]
