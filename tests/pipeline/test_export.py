import json
import os
from pathlib import Path

import open_clip
import pytest
import torch

from phreg.cli import main
from phreg.errors import ConfigError, ModelError, RegistryError
from phreg.models import add_registers, hub_files, load_backbone
from phreg.pipeline import export
from phreg.pipeline.export import export_student, folder_and_name, student_folder
from phreg.registry import Registry
from phreg.storage import Folder
from tests.helpers import jpeg_bytes, make_image, save_tiny_open_clip, tiny_clip, write_shard


@pytest.fixture
def student(tmp_path: Path) -> str:
    for name, data in hub_files(add_registers(load_backbone(tiny_clip(depth=1)), 2)).items():
        (Folder(str(tmp_path)) / "student").write(name, data)
    return str(tmp_path / "student")


def test_the_command_says_how_far_it_is_off(
    student: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = write_shard(tmp_path / "images-000000.tar", n=2)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg_bytes(make_image()))
    (tmp_path / "photos" / "b.jpg").write_bytes(b"none")
    out = tmp_path / "new" / "student.pt2"
    images = ["--images", str(shard), str(tmp_path / "photos"), str(tmp_path / "photos" / "a*.jpg")]
    arguments = [
        "export",
        student,
        "--to",
        "torch-export",
        "--output",
        str(out),
        "--image-size",
        "80",
        *images,
    ]
    assert main(arguments) == 0
    assert "on 4 images its features differ from the student's by at most" in capsys.readouterr().out
    assert out.exists()


def test_an_export_that_is_off_is_not_written(
    student: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another = add_registers(load_backbone(tiny_clip(seed=1, depth=1)), 2)
    graph = export._GRAPHS["torch-export"]
    monkeypatch.setitem(export._GRAPHS, "torch-export", (lambda model: graph[0](another), graph[1]))
    with pytest.raises(ModelError, match=r"does not compute(?s:.)*on 4 images"):
        export_student(student, "torch-export", str(tmp_path / "student.pt2"))
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_an_output_of_another_kind(student: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", student, "--to", "onnx", "--output", "student.pt2"]) == 2
    assert "expected: PATH.onnx" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--clip", "--clip-checkpoint"])
def test_options_of_another_format(option: str, student: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", student, "--to", "onnx", "--output", "student.onnx", option, "any"]) == 2
    assert "are for open_clip" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "folder"),
    [
        ("/a.onnx", "/"),
        ("a.onnx", os.curdir),
        ("../a.onnx", os.pardir),
        ("/tmp/b/a.onnx", "/tmp/b"),
        ("file:///a.onnx", "file:///"),
        ("s3://bucket/a.onnx", "s3://bucket/"),
    ],
)
def test_where_a_file_goes(output: str, folder: str) -> None:
    assert folder_and_name(output) == (Folder(folder), "a.onnx")


def test_registered_students_by_version_and_alias(student: str, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in Path(student).iterdir()}
    registry = Registry(Folder(str(tmp_path / "registry")))
    about = {"student": "s", "student_digest": "0" * 64, "metrics": {}, "teacher_metrics": {}, "lineage": {}}
    entry = registry.register("photos", files, **about)
    registry.promote("photos", entry.version, "champion", "test")
    for which in ("1", "champion"):
        assert Folder(student_folder(f"{registry.folder.url}/photos/{which}/")).url == entry.url
    with pytest.raises(RegistryError, match="no alias 'best'"):
        student_folder(f"{registry.folder.url}/photos/best")
    for altered in ("lineage.json", "model.safetensors"):  # what it is exported from is as registered
        data = entry.folder.read(altered)
        entry.folder.write(altered, data[:-1] + b" ")
        with pytest.raises(RegistryError, match=rf"{altered} is not what was registered"):
            export_student(f"{registry.folder.url}/photos/1", "open_clip", str(tmp_path / "out"))


def test_a_clip_of_open_clips_with_the_student_as_its_tower(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Used by open_clip alone: images and texts, features and similarities."""
    clip = save_tiny_open_clip(tmp_path / "clip")
    student = add_registers(load_backbone(clip), 4)
    for name, data in hub_files(student).items():
        (Folder(str(tmp_path)) / "student").write(name, data)
    out = tmp_path / "out"
    arguments = ["export", str(tmp_path / "student"), "--to", "open_clip", "--output", f"file://{out}"]
    assert main(arguments) == 2
    assert "name it by --clip" in capsys.readouterr().err
    (tmp_path / "student" / "lineage.json").write_text(json.dumps({"config": {"teacher": {"model": clip}}}))
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "on 4 images" in said
    assert f'create_model_and_transforms("local-dir:{out}")' in said
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{out}")
    images = preprocess(make_image())[None]
    texts = open_clip.get_tokenizer(f"local-dir:{out}")(["a cat", "a dog"])
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            model.encode_image(images), student.class_tokens(images), rtol=0, atol=1e-5
        )
        before = open_clip.create_model(f"local-dir:{tmp_path / 'clip'}").eval()
        torch.testing.assert_close(model.encode_text(texts), before.encode_text(texts))
        torch.testing.assert_close(model.logit_scale, before.logit_scale)


def test_a_student_that_is_no_clips_tower(student: str, tmp_path: Path) -> None:
    clip = save_tiny_open_clip(tmp_path / "clip", embed_dim=8)
    with pytest.raises(ModelError, match="is no image tower for"):
        export_student(student, "open_clip", str(tmp_path / "out"), clip=clip)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_without_the_name_of_its_clip(
    tmp_path: Path, student: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of the teacher, in place of the teacher's own; with a name it is as given."""
    (Path(student) / "lineage.json").write_text(
        json.dumps({"config": {"teacher": {"model": "open_clip/A", "checkpoint": "its-own.pt"}}})
    )
    seen = []
    monkeypatch.setattr(
        export, "_export_clip", lambda model, clip, weights, *rest: seen.append((clip, weights))
    )
    for options in ({}, {"clip_checkpoint": "b.pt"}, {"clip": "B"}, {"clip": "B", "clip_checkpoint": "b.pt"}):
        export_student(student, "open_clip", str(tmp_path / "out"), **options)
    assert seen == [("open_clip/A", "its-own.pt"), ("open_clip/A", "b.pt"), ("B", None), ("B", "b.pt")]


def test_a_clip_goes_into_no_folder_that_has_files(student: str) -> None:
    before = {path.name: path.read_bytes() for path in Path(student).iterdir()}
    with pytest.raises(ConfigError, match=r"is not empty(?s:.)*found: config.json, model.safetensors"):
        export_student(student, "open_clip", student, clip="any")
    assert {path.name: path.read_bytes() for path in Path(student).iterdir()} == before
