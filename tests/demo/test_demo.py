from pathlib import Path

import numpy as np
import torch

import phreg
from phreg.config import load_config
from phreg.data import read_shard
from phreg.demo import make_demo, world
from phreg.demo.scenes import draw_scene
from phreg.demo.teacher import make_teacher
from phreg.pipeline.prepare import prepare
from phreg.storage import Folder


def test_scenes_are_functions_of_seed_and_index() -> None:
    first = np.asarray(draw_scene(0, 3))
    assert (first == np.asarray(draw_scene(0, 3))).all()
    assert (first != np.asarray(draw_scene(0, 4))).any()
    assert (first != np.asarray(draw_scene(1, 3))).any()
    assert first.std() > 10


def test_demo_makes_a_config_that_can_run_and_leaves_what_is_there(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(world, "SCENES_PER_SHARD", 2)
    path = make_demo(tmp_path)
    prepared = prepare(load_config(path))
    assert set(prepared.targets) == {"denoised", "raw"}
    keys = [
        sample.key for url in (*prepared.train, *prepared.validation) for sample in read_shard(url).samples
    ]
    assert len(set(keys)) == len(keys) == 2 * (world.SHARDS + world.VALIDATION_SHARDS)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    path.write_text(path.read_text() + "# mine\n")
    make_demo(tmp_path)
    assert path.read_text().endswith("# mine\n")
    assert all(file.stat().st_mtime_ns == time for file, time in before.items() if file != path)


def test_teacher_is_a_function_of_its_seed(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(digests))  # what else was drawn must not matter
        make_teacher(Folder(str(tmp_path / name)), seed)
        digests.append(phreg.load_backbone(f"local-dir:{tmp_path}/{name}").weights_digest())
    assert digests[0] == digests[1] != digests[2]


def test_teacher_is_dirty(tmp_path: Path, monkeypatch) -> None:
    """Its features mix content and place: denoising has something to do."""
    monkeypatch.setattr(world, "SCENES_PER_SHARD", 1)
    make_demo(tmp_path)
    teacher = phreg.load_backbone(f"local-dir:{tmp_path}/world/teacher")
    crop = torch.from_numpy(np.asarray(draw_scene(0, 0).resize((112, 112))).copy())[None]
    images = teacher.normalize(crop)
    clean = phreg.denoise(teacher, images, phreg.sample_views(14))
    cosine = torch.cosine_similarity(teacher(images), clean, dim=1)
    assert cosine.median() < 0.95
