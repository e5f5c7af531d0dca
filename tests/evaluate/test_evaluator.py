"""Measuring a model: batches do not matter, artifacts do."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from phreg.errors import ModelError, NonFiniteError
from phreg.evaluate import HeldOut, evaluator, measure, measurements
from phreg.evaluate.evaluator import join
from phreg.models import Backbone, load_backbone
from phreg.types import HIGHER_IS_BETTER, KEPT_FROM_TEACHER
from tests.helpers import make_image, tiny_dinov2

SIZE = 64
SETTINGS = {"shifts": 4, "max_shift": 0.3, "seed": 0}


def make_held_out(backbone: Backbone, images: int = 5, targets: bool = True) -> HeldOut:
    """Targets are the model's own features."""
    crops = np.stack([np.array(make_image(i, SIZE, SIZE)) for i in range(images)])
    with torch.no_grad():
        features = backbone(backbone.normalize(torch.from_numpy(crops))).flatten(2).transpose(1, 2)
    return HeldOut(tuple(f"k{i}" for i in range(images)), crops, features if targets else None)


def test_a_model_agrees_with_its_own_features() -> None:
    backbone = load_backbone(tiny_dinov2(SIZE))
    found = measure(backbone, make_held_out(backbone), **SETTINGS)
    assert set(found) == set(HIGHER_IS_BETTER) - set(KEPT_FROM_TEACHER)
    assert found["target_cosine_p1"] == pytest.approx(1, abs=1e-5)
    assert found["shift_cosine_p5"] < found["shift_cosine_mean"] < 1


def test_without_targets_their_metrics_are_left_out() -> None:
    backbone = load_backbone(tiny_dinov2(SIZE))
    with_targets = measure(backbone, make_held_out(backbone), **SETTINGS)
    without = measure(backbone, make_held_out(backbone, targets=False), **SETTINGS)
    assert without == {name: value for name, value in with_targets.items() if "target" not in name}


def test_percentiles_are_taken_over_all_images_together() -> None:
    backbone = load_backbone(tiny_dinov2(SIZE))
    crops = make_held_out(backbone)
    assert crops.targets is not None
    crops.targets[0] *= -1  # one image of five is all wrong
    found = measurements(backbone, crops, **SETTINGS)
    assert found.metrics["target_cosine_p5"] == pytest.approx(-1, abs=1e-5)
    assert found.metrics["target_cosine_p50"] == pytest.approx(1, abs=1e-5)
    assert found.per_image[0]["target_cosine_p50"] == pytest.approx(-1, abs=1e-5)
    assert found.per_image[1]["target_cosine_p1"] == pytest.approx(1, abs=1e-5)
    means = [row["shift_cosine_mean"] for row in found.per_image]
    assert np.mean(means) == pytest.approx(found.metrics["shift_cosine_mean"])


def test_the_same_seed_gives_the_same_numbers_and_parts_join_to_the_whole() -> None:
    backbone = load_backbone(tiny_dinov2(SIZE))
    crops = make_held_out(backbone)
    whole = measurements(backbone, crops, **SETTINGS)
    assert measurements(backbone, crops, **SETTINGS).metrics == whole.metrics
    parts = [
        HeldOut(crops.keys[i : i + 2], crops.crops[i : i + 2], crops.targets[i : i + 2])
        for i in range(0, 5, 2)
    ]
    joined = join([measurements(backbone, part, **SETTINGS) for part in parts])
    assert joined.metrics == whole.metrics
    assert joined.keys == whole.keys
    assert joined.forward_passes == whole.forward_passes == 5 * (1 + 4)
    other = measure(backbone, crops, **SETTINGS | {"seed": 1})
    assert other["shift_cosine_mean"] != whole.metrics["shift_cosine_mean"]


def test_batching_changes_rounding_only(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = load_backbone(tiny_dinov2(SIZE))
    crops = make_held_out(backbone)
    one_by_one = measure(backbone, crops, **SETTINGS)
    monkeypatch.setattr(evaluator, "_images_per_forward", lambda device: 3)
    assert measure(backbone, crops, **SETTINGS) == pytest.approx(one_by_one, abs=1e-5)


def test_planted_artifacts_show_in_the_measures() -> None:
    clean = load_backbone(tiny_dinov2(SIZE))
    crops = make_held_out(clean)
    clean_metrics = measure(clean, crops, **SETTINGS)
    dirty = copy.deepcopy(clean)
    dirty.vit.blocks[-1] = Planted(dirty.vit.blocks[-1], [5, 17, 40, 58])
    dirty_metrics = measure(dirty, crops, **SETTINGS)
    gains = {
        name: (clean_metrics[name] - dirty_metrics[name]) * (1 if higher else -1)
        for name, higher in HIGHER_IS_BETTER.items()
        if name in clean_metrics
    }
    assert gains["artifact_rate"] == pytest.approx(4 / 64)
    assert gains["norm_ratio"] > 5
    assert gains["outlier_rate"] == 0, "the final norm hides them"
    stages = measurements(dirty, crops, **SETTINGS).stages
    assert [stage["artifact_rate"] for stage in stages] == [0, 4 / 64, 0]
    assert gains["shift_cosine_mean"] > 0.02
    assert gains["shift_cosine_p5"] > 0.1
    assert gains["target_cosine_p1"] > 0.5
    assert gains["target_cosine_p5"] > 0.5
    assert gains["target_cosine_p50"] == pytest.approx(0, abs=1e-5), "most tokens are as they were"


class Planted(nn.Module):
    """A block that makes tokens at fixed places of the grid huge and alike, whatever the image shows."""

    def __init__(self, block: nn.Module, places: list[int]) -> None:
        super().__init__()
        self.block, self.places = block, [1 + place for place in places]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.block(x).clone()
        out[:, self.places] = torch.linspace(-30, 40, out.shape[-1])
        return out


def test_crops_and_targets_must_fit_the_model() -> None:
    backbone = load_backbone(tiny_dinov2(SIZE))
    crops = make_held_out(backbone)
    with pytest.raises(ModelError, match="not of the model's size"):
        measure(load_backbone(tiny_dinov2(32)), crops, **SETTINGS)
    with pytest.raises(ModelError, match="shape of the model's features"):
        measure(backbone, dataclasses.replace(crops, targets=crops.targets[:, :, :16]), **SETTINGS)


def test_a_broken_model_is_refused() -> None:
    backbone = load_backbone(tiny_dinov2(SIZE))
    crops = make_held_out(backbone)
    with torch.no_grad():
        backbone.vit.norm.bias[0] = float("nan")
    with pytest.raises(NonFiniteError, match=f"NaN or Inf in the features of the views of {crops.keys[0]}"):
        measure(backbone, crops, **SETTINGS)
