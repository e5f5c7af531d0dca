import json
from pathlib import Path

import numpy as np
import pytest
import torch

from phreg.config.labels import ProbeConfig
from phreg.errors import DataError
from phreg.evaluate.probe import (
    ProbeData,
    extract_features,
    probe_segmentation,
    score_segmentation,
    train_segmentation_probe,
)
from phreg.models import load_backbone
from phreg.storage import Folder
from tests.evaluate.probe.sets import MemorySet, camvid, probe_data
from tests.helpers import tiny_dinov2

CLASSES, CHANNELS, GRID, PATCH = 4, 12, 6, 8
CONFIG = ProbeConfig(steps=80)


def blocks(seed: int, images: int = 24) -> torch.Tensor:
    """A class for each half of a grid [N, h, w]: edges on patch borders, so that they can be predicted."""
    rng = np.random.default_rng(seed)
    sides = rng.integers(0, CLASSES, (images, 2, 1)).repeat(GRID // 2, 1)
    return torch.from_numpy(sides.repeat(GRID, 2))


def at_pixels(classes: torch.Tensor) -> list[np.ndarray]:
    """Labels of a size of their own for each image."""
    return [
        np.kron(grid.numpy(), np.ones((PATCH, PATCH + i % 3))).astype(np.uint8)
        for i, grid in enumerate(classes)
    ]


def linear_data(seed: int) -> ProbeData:
    """Features whose mean is a random direction of the class, far from the origin and of uneven scales."""
    classes = blocks(seed)
    directions = torch.randn(CLASSES, CHANNELS, generator=torch.Generator().manual_seed(5))
    noise = torch.randn(len(classes), GRID, GRID, CHANNELS, generator=torch.Generator().manual_seed(seed))
    features = (directions[classes] + 0.1 * noise) * torch.logspace(-2, 1, CHANNELS) + 3
    return probe_data(features.permute(0, 3, 1, 2), at_pixels(classes))


def random_data(seed: int) -> ProbeData:
    noise = torch.randn(24, CHANNELS, GRID, GRID, generator=torch.Generator().manual_seed(seed))
    return probe_data(noise, at_pixels(blocks(seed)))


def weights(data: ProbeData, config: ProbeConfig = CONFIG) -> dict[str, torch.Tensor]:
    return train_segmentation_probe(data, CLASSES, config).state_dict()


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_what_features_say_linearly_is_learnt() -> None:
    head = train_segmentation_probe(linear_data(0), CLASSES, CONFIG)
    scores = score_segmentation(head, linear_data(1))
    assert scores.mean_iou > 0.95
    assert scores.pixel_accuracy > 0.97
    assert all(iou is not None and iou > 0.9 for iou in scores.class_iou)
    assert scores.images == 24


def test_random_features_give_chance() -> None:
    head = train_segmentation_probe(random_data(0), CLASSES, CONFIG)
    scores = score_segmentation(head, random_data(1))
    assert 0.1 < scores.pixel_accuracy < 0.4  # chance: 0.25
    assert scores.mean_iou < 0.25


def test_equal_seeds_give_equal_weights_bit_by_bit() -> None:
    first, again = weights(linear_data(0)), weights(linear_data(0))
    assert equal(first, again)
    assert not equal(first, weights(linear_data(0), CONFIG.model_copy(update={"seed": 1})))


def relabelled(data: ProbeData, columns: int, label: int) -> ProbeData:
    """The data with another label for its last columns of patches."""
    labels = [image.copy() for image in data.labels_of(CLASSES)]
    for image in labels:
        rest = slice(image.shape[1] * (GRID - columns) // GRID, None)
        image[:, rest] = label
    return probe_data(data.features, labels)


def test_ignored_pixels_teach_nothing() -> None:
    """Most of each image has wrong labels: they mislead the head, unless they are ignored."""
    train, test = linear_data(0), linear_data(1)
    misled = train_segmentation_probe(relabelled(train, 4, label=0), CLASSES, CONFIG)
    spared = train_segmentation_probe(relabelled(train, 4, label=255), CLASSES, CONFIG)
    assert score_segmentation(misled, test).mean_iou < 0.8
    assert score_segmentation(spared, test).mean_iou > 0.95


def test_scores_leave_ignored_pixels_out() -> None:
    head = train_segmentation_probe(linear_data(0), CLASSES, CONFIG)
    test = linear_data(1)
    wrong = score_segmentation(head, relabelled(test, 3, label=0))
    ignored = score_segmentation(head, relabelled(test, 3, label=255))
    assert ignored.mean_iou > 0.95 > wrong.mean_iou


def test_a_class_that_occurs_nowhere_has_no_iou() -> None:
    data = probe_data(torch.randn(2, 3, 2, 2), [np.zeros((8, 8), np.uint8)] * 2)
    head = train_segmentation_probe(data, 3, CONFIG)
    scores = score_segmentation(head, data)
    assert scores.class_iou == (1.0, None, None)
    assert scores.mean_iou == 1
    assert json.loads(scores.model_dump_json())["class_iou"] == [1.0, None, None]


def test_a_set_without_labelled_pixels_cannot_be_scored() -> None:
    head = train_segmentation_probe(linear_data(0), CLASSES, ProbeConfig(steps=1))
    with pytest.raises(DataError, match="No pixel"):
        score_segmentation(head, relabelled(linear_data(1), GRID, label=255))


def test_sets_of_other_classes_are_refused() -> None:
    backbone = load_backbone(tiny_dinov2(32))
    with pytest.raises(DataError, match="same classes"):
        probe_segmentation(backbone, MemorySet([], 3), MemorySet([], 4), CONFIG)


def test_camvid_with_a_random_network_beats_the_largest_class(shared_folder: Path, tmp_path: Path) -> None:
    backbone = load_backbone(tiny_dinov2(64))
    train, test = (camvid(shared_folder, split, 16) for split in ("train", "test"))
    folder, told = Folder(str(tmp_path)), []
    scores = probe_segmentation(
        backbone, train, test, CONFIG, folder, on_progress=lambda *at: told.append(at)
    )
    labels = np.concatenate([item.labels.ravel() for item in test])
    counts = np.bincount(labels[labels != 255], minlength=11)
    assert scores.pixel_accuracy > counts.max() / counts.sum() + 0.1
    assert scores.mean_iou > 2 * (counts.max() / counts.sum() / 11)
    assert len(scores.class_iou) == 11
    assert [stage for stage, done, total in told if done == total] == [
        "training features",
        "test features",
        "training",
    ]
    assert extract_features(backbone, train, folder=folder).forward_passes == 0
    assert probe_segmentation(backbone, train, test, CONFIG, folder) == scores
