"""`refined_views` against a statement of it in loops, and against the mean where nothing is left out."""

import math
from statistics import median

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from phreg.config.denoisers import RefinedViewsConfig
from phreg.method.denoising import denoise
from phreg.method.outliers import FACTOR, MADS, outliers
from phreg.method.refined_views import SHARPNESS, combined
from phreg.method.view_features import placement_indices, view_features
from phreg.method.views import Views, sample_views
from phreg.models import Backbone, load_backbone
from tests.helpers import tiny_clip, tiny_dinov2
from tests.method.loud import images, loud

COMBINE = ("mean", "trimmed_mean", "median", "agreement")


def config(combine: str = "mean", **options: object) -> RefinedViewsConfig:
    return RefinedViewsConfig.model_validate({"combine": combine, **options})


def with_outliers(read_out: str = "standard") -> Backbone:
    vit = tiny_clip() if read_out == "naclip" else tiny_dinov2()
    return loud(load_backbone(vit, read_out=read_out))


def stated(kept: list[list[float]], how: RefinedViewsConfig) -> list[float]:
    """What is left of one patch's views, combined: lists of C numbers, view by view."""
    channels = range(len(kept[0]))
    if how.combine == "agreement" and len(kept) > 1:
        weights = []
        units = [[value / math.hypot(*own) for value in own] for own in kept]
        for v, own in enumerate(units):
            others = [sum(units[u][c] for u in range(len(kept)) if u != v) for c in channels]
            product = sum(a * b for a, b in zip(own, others, strict=True))
            weights.append(max(product / math.hypot(*others), 0) ** SHARPNESS)
        weights = weights if sum(weights) > 0 else [1.0] * len(kept)
        return [
            sum(w * own[c] for w, own in zip(weights, kept, strict=True)) / sum(weights) for c in channels
        ]
    if how.combine == "median":
        return [median(own[c] for own in kept) for c in channels]
    cut = math.floor(0.2 * len(kept)) if how.combine == "trimmed_mean" else 0
    ordered = [sorted(own[c] for own in kept)[cut : len(kept) - cut] for c in channels]
    return [sum(values) / len(values) for values in ordered]


@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("read_out", ["standard", "value", "naclip"])
def test_it_is_what_it_says_step_by_step(read_out: str, combine: str) -> None:
    backbone, how = with_outliers(read_out), config(combine, views=6)
    views = sample_views(8, 6, 0.3, seed=1)
    image = images(1)
    layers: list[Tensor] = []
    features, seen = view_features(backbone, image, views, layers.append)
    place = placement_indices(views, (8, 8))
    norms = layers[-2].norm(dim=-1)  # [n, P], where the tokens stand in the views
    found = denoise(backbone, image, views, method=how)[0].flatten(1).T
    left_out = 0
    for patch in range(64):
        kept = []
        for v in range(6):
            if place[v][patch] < 0:
                continue
            others = [float(norms[v][place[v][p]]) for p in range(64) if place[v][p] >= 0]
            typical = median(others)
            deviation = 1.4826 * median(abs(norm - typical) for norm in others)
            own = float(norms[v][place[v][patch]])
            if not (own > FACTOR * typical and own > typical + MADS * deviation):
                kept.append(features[0, v, patch].tolist())
        left_out += int(seen[0, :, patch].sum()) - len(kept)
        kept = kept or [features[0, v, patch].tolist() for v in range(6) if place[v][patch] >= 0]
        torch.testing.assert_close(found[patch], torch.tensor(stated(kept, how)), rtol=0, atol=1e-5)
    assert left_out > 0  # else it says nothing


@settings(max_examples=20)
@given(n=st.integers(2, 8), seed=st.integers(0, 99), shift=st.sampled_from([0.0, 0.15, 0.4]))
def test_without_outliers_it_is_the_mean_over_views(n: int, seed: int, shift: float) -> None:
    """A random network has none, and then not a bit is other."""
    views = sample_views(8, n, shift, seed)
    refined = denoise(CALM, images(seed=seed), views, method=config())
    assert torch.equal(refined, denoise(CALM, images(seed=seed), views))


CALM = load_backbone(tiny_dinov2())


@pytest.mark.parametrize("combine", COMBINE)
def test_views_that_agree_are_what_comes_out(combine: str) -> None:
    features = torch.randn(3, 1, 4, 5).expand(-1, 7, -1, -1)
    found = combined(features, torch.ones(3, 7, 4, dtype=torch.bool), config(combine, views=7))
    torch.testing.assert_close(found, features[:, 0])


@pytest.mark.parametrize("combine", ["trimmed_mean", "median", "agreement"])
def test_one_view_gone_astray_moves_little(combine: str) -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 1, 3, 16) + 0.01 * torch.randn(1, 7, 3, 16)
    truth = features.mean(1)
    features[:, 2] = 10 * torch.randn(1, 3, 16)
    found = combined(features, torch.ones(1, 7, 3, dtype=torch.bool), config(combine, views=7))
    assert (found - truth).norm() < 0.1 * (features.mean(1) - truth).norm()


def test_a_patch_that_is_an_outlier_everywhere_keeps_its_views() -> None:
    backbone = with_outliers()
    same = Views([[0, 0]] * 3, [0, 0, 0])
    plain = denoise(backbone, images(), same)
    torch.testing.assert_close(denoise(backbone, images(), same, method=config()), plain)


def test_norms_that_do_not_count_are_no_outliers() -> None:
    norms = torch.tensor([1.0, 1.1, 0.9, 1.0, 5.0, torch.nan, torch.nan])
    assert outliers(norms).tolist() == [False] * 4 + [True, False, False]
    assert not outliers(torch.zeros(5)).any()


def test_images_do_not_depend_on_their_batch() -> None:
    backbone, views, how = with_outliers(), sample_views(8, 5, 0.3), config("trimmed_mean", views=5)
    together = denoise(backbone, images(3), views, method=how)
    alone = torch.cat([denoise(backbone, image[None], views, method=how) for image in images(3)])
    assert torch.equal(together, alone)
