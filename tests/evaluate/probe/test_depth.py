import json
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from phreg.config.labels import LabelledSetConfig, ProbeConfig
from phreg.errors import DataError
from phreg.evaluate.datasets import LabelledImage, LabelledSet, open_set
from phreg.evaluate.probe import (
    DepthHead,
    ProbeData,
    extract,
    extract_features,
    probe_depth,
    score_depth,
    train_depth_probe,
)
from phreg.evaluate.probe.eigen import counted_depths
from phreg.evaluate.probe.heads import resize
from phreg.models import load_backbone
from tests.evaluate.probe.sets import MemorySet, picture, probe_data
from tests.helpers import tiny_dinov2

CHANNELS, GRID = 8, 5
CONFIG = ProbeConfig(steps=120)


def linear_data(seed: int, images: int = 32, noise: float = 0.02) -> ProbeData:
    """One direction of the features is the depth in metres, smooth and from 1 to 8."""
    generator = torch.Generator().manual_seed(seed)
    patches = 1 + 7 * torch.rand(images, 1, 3, 3, generator=generator)
    patches = resize(patches, (GRID, GRID))
    direction = torch.randn(CHANNELS, generator=torch.Generator().manual_seed(9))[None, :, None, None]
    features = direction * patches + noise * torch.randn(images, CHANNELS, GRID, GRID, generator=generator)
    depths = [resize(patches[i : i + 1], (40, 30 + i))[0, 0].numpy() for i in range(images)]
    for depth in depths:
        depth[:4] = 0  # not measured
    return probe_data(features, depths=depths)


def test_depth_that_is_linear_in_a_feature_is_recovered() -> None:
    head = train_depth_probe(linear_data(0), CONFIG)
    scores = score_depth(head, linear_data(1))
    assert scores.abs_rel < 0.05
    assert scores.rmse < 0.35
    assert scores.delta1 > 0.98
    assert scores.images == 32
    assert set(json.loads(scores.model_dump_json())) == {
        "rmse", "abs_rel", "delta1", "delta2", "delta3", "images", "skipped"
    }  # fmt: skip


def test_random_features_give_no_more_than_the_mean() -> None:
    train, test = linear_data(0, noise=100), linear_data(1, noise=100)
    assert score_depth(train_depth_probe(train, CONFIG), test).abs_rel > 0.2


def test_equal_seeds_give_equal_weights_bit_by_bit() -> None:
    config = ProbeConfig(steps=5)
    heads = [train_depth_probe(linear_data(0), config).state_dict() for _ in range(2)]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


def test_depth_not_measured_or_out_of_range_does_not_change_the_head() -> None:
    data, config = linear_data(0), ProbeConfig(steps=5)
    changed = [depth.copy() for depth in data.all_depths()]
    for depth in changed:
        depth[:4] = 50
    other = train_depth_probe(probe_data(data.features, depths=changed), config).state_dict()
    head = train_depth_probe(data, config).state_dict()
    assert all(torch.equal(head[name], other[name]) for name in head)


def test_predictions_stay_within_the_range() -> None:
    head = DepthHead(CHANNELS, 4.0, torch.Generator().manual_seed(0)).eval()
    depth = head(100 * torch.randn(3, CHANNELS, GRID, GRID))
    assert depth.shape == (3, 4 * GRID, 4 * GRID)
    assert depth.min() > 0
    assert depth.max() < 4


def test_at_the_start_all_depths_are_near_the_middle() -> None:
    head = DepthHead(CHANNELS, 10.0, torch.Generator().manual_seed(0)).eval()
    assert head(torch.randn(3, CHANNELS, GRID, GRID)).sub(5).abs().max() < 0.5


def write_world(root: Path, split: str, images: int, seed: int) -> LabelledSet:
    """The folder layout: a bright patch is near, a dark one far; depth in millimetres."""
    for name in ("images", "depth"):
        (root / split / name).mkdir(parents=True)
    for i in range(images):
        grey = np.random.default_rng((seed, i)).integers(0, 256, (4, 4)).astype(np.uint8)
        image = Image.fromarray(grey).resize((32, 32), Image.Resampling.NEAREST)
        image.convert("RGB").save(root / split / f"images/{i:03d}.png")
        depth = 8000 - 25 * np.array(image, np.uint16)
        Image.fromarray(depth.astype(np.uint16)).save(root / split / f"depth/{i:03d}.png")
    return open_set(LabelledSetConfig(kind="folder", root=str(root), split=split))


def test_from_a_folder_to_scores(tmp_path: Path) -> None:
    train, test = write_world(tmp_path, "train", 32, seed=0), write_world(tmp_path, "test", 8, seed=1)
    backbone = load_backbone(tiny_dinov2(32, depth=1))
    scores = probe_depth(backbone, train, test, CONFIG)
    depth = np.stack([item.depth for item in test])
    constant = np.abs(np.median(depth) - depth) / depth
    assert scores.abs_rel < 0.5 * constant.mean()
    assert scores.images == 8


def test_a_set_without_depth_is_refused() -> None:
    data = probe_data(torch.randn(2, CHANNELS, GRID, GRID), labels=[np.zeros((8, 8), np.uint8)] * 2)
    with pytest.raises(DataError, match="depth"):
        train_depth_probe(data, CONFIG)


class DrawnSet(MemorySet):
    """Frames of NYU's size, made when asked for; knows which of its depth maps are held at all."""

    has_depth = True

    def __init__(self, images: int) -> None:
        super().__init__([DataError("not drawn")] * images, name="nyu_depth")
        self.given: list[weakref.ref[np.ndarray]] = []
        self.most_held = 0

    def __getitem__(self, index: int) -> LabelledImage:
        depth = np.random.default_rng(index).uniform(0.5, 9, (480, 640)).astype(np.float32)
        self.given.append(weakref.ref(depth))
        self.most_held = max(self.most_held, sum(of() is not None for of in self.given))
        return LabelledImage(f"frame {index}", picture(index, 640, 480), depth=depth)


def test_training_holds_no_depth_at_full_size_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "IMAGES_PER_ENTRY", 2)
    trained: list[ProbeData] = []

    def train(data: ProbeData, *arguments: object) -> DepthHead:
        trained.append(data)
        return train_depth_probe(data, *arguments)

    monkeypatch.setattr("phreg.evaluate.probe.depth.train_depth_probe", train)
    backbone, frames, config = load_backbone(tiny_dinov2(32, depth=1)), DrawnSet(7), ProbeConfig(steps=3)
    scores = probe_depth(backbone, frames, DrawnSet(2), config)
    assert frames.most_held <= 4  # those of an entry, and of the one before
    assert {depth.shape for depth in trained[0].all_depths()} == {(16, 16)}
    whole = train_depth_probe(extract_features(backbone, DrawnSet(7)), config)
    assert score_depth(whole, extract_features(backbone, DrawnSet(2))) == scores


def test_counted_depths_are_copied_one_at_a_time() -> None:
    depths = [np.ones((480, 640), np.float32)] * 3
    data = replace(probe_data(torch.zeros(3, 2, 2, 2), depths=depths), name="nyu_depth")
    held = [weakref.ref(depth) for depth in counted_depths(data)]
    assert sum(of() is not None for of in held) <= 1
