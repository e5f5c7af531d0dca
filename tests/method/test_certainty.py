"""The variance of targets against a statement of it in loops; weights by it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phreg.errors import ConfigError
from phreg.method.certainty import certainty_weights, variance_of_mean
from phreg.method.denoising import denoise, denoise_with_variance
from phreg.method.view_features import view_features
from phreg.method.views import Views, sample_views, stack_views
from phreg.models import load_backbone
from tests.helpers import tiny_clip
from tests.method.loud import images, placed


def stated(features: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Of one image, [n, P, C] and [n, P]: numpy's unbiased variance of each channel, then as defined."""
    of_view, freedom = {}, {}
    for patch in range(seen.shape[1]):
        views = features[seen[:, patch], patch].astype(np.float64)
        freedom[patch] = len(views) - 1
        of_view[patch] = views.var(0, ddof=1).mean() if len(views) > 1 else None
    known = [patch for patch in of_view if of_view[patch] is not None]
    pooled = sum(freedom[p] * of_view[p] for p in known) / sum(freedom[p] for p in known)
    return np.array([(pooled if v is None else v) / (freedom[p] + 1) for p, v in of_view.items()])


@pytest.mark.parametrize("read_out", ["standard", "naclip"])
def test_it_is_the_squared_standard_error_of_the_mean(read_out: str) -> None:
    """Whatever else is in the batch, with features as without it; some tokens are seen once."""
    backbone, crops = load_backbone(tiny_clip(), read_out=read_out), images(2)
    views = stack_views([sample_views(8, 3, 0.4, seed) for seed in (1, 2)])
    features, variance = denoise_with_variance(backbone, crops, views)
    assert torch.equal(features, denoise(backbone, crops, views))
    for image in range(2):
        each, seen = (
            part[0].detach().numpy() for part in view_features(backbone, crops[[image]], views[image:][:1])
        )
        assert seen.sum(0).min() == 1
        np.testing.assert_allclose(variance[image].flatten(), stated(each, seen), rtol=1e-4)
        alone = denoise_with_variance(backbone, crops[[image]], views[slice(image, image + 1)])
        assert torch.equal(alone[1][0], variance[image])


def test_it_tells_the_error_of_independent_views() -> None:
    """Noise of a known size for each token: the mean is off by as much as the variance says."""
    size = torch.linspace(0.1, 3, 200)
    noise = size[:, None] * torch.randn(6, 200, 400, generator=torch.Generator().manual_seed(0))
    mean = noise.mean(0, keepdim=True)
    variance = variance_of_mean(noise[None], torch.ones(1, 6, 200, dtype=torch.bool), mean)
    torch.testing.assert_close(variance[0], size**2 / 6, rtol=0.2, atol=0)
    torch.testing.assert_close(variance.sum(), mean.square().mean(-1).sum(), rtol=0.05, atol=0)


def test_an_image_of_which_no_token_was_seen_twice_has_none() -> None:
    backbone = load_backbone(tiny_clip())
    once = Views(np.array([[0, 0], [8, 8]]), np.array([False, True]))
    assert not denoise_with_variance(backbone, images(1), once)[1].any()


def test_a_method_without_one_says_so() -> None:
    with pytest.raises(ConfigError, match="10 refined views: its features come without a variance"):
        denoise_with_variance(load_backbone(tiny_clip()), images(1), method="refined_views")


def test_a_changed_network_hands_on_to_views() -> None:
    backbone, crops = placed(load_backbone(tiny_clip())), images(4)
    method = {"method": "position_subspace", "then": {"views": 3}}
    features, variance = denoise_with_variance(backbone, crops, method=method)
    assert torch.equal(features, denoise(backbone, crops, method=method))
    assert variance.shape == (4, 8, 8)
    assert (variance > 0).all()


@given(seed=st.integers(0, 1000), unit=st.sampled_from([1e-30, 1e-4, 1.0, 1e30]))
def test_weights_have_mean_one_and_know_no_unit(seed: int, unit: float) -> None:
    variance = torch.rand(3, 50, generator=torch.Generator().manual_seed(seed)) ** 4
    weights = certainty_weights(variance)
    torch.testing.assert_close(weights.mean(1), torch.ones(3))
    torch.testing.assert_close(certainty_weights(unit * variance), weights, rtol=1e-3, atol=1e-5)
    order = variance.argsort(1)
    assert (weights.gather(1, order).diff() <= 0).all(), "the surer, the more"
    typical = weights.gather(1, variance.median(1, keepdim=True).indices)
    assert (weights <= 2.001 * typical).all()


@pytest.mark.parametrize("variance", [0.0, 1e-45, 7.0])
def test_tokens_that_are_equally_sure_count_alike(variance: float) -> None:
    torch.testing.assert_close(certainty_weights(torch.full((2, 9), variance)), torch.ones(2, 9))
