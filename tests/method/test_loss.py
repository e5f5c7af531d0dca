import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phreg.errors import ConfigError
from phreg.method.loss import distillation_loss


def features(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 10_000))
def test_zero_on_itself(seed: int) -> None:
    target = features(seed, 2, 9, 8)
    assert all(abs(term.item()) < 1e-6 for term in distillation_loss(target, target).parts.values())


@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10))
def test_cosine_ignores_scale_and_mse_does_not(seed: int, scale: float) -> None:
    target, predicted = features(seed, 2, 9, 8), features(seed + 1, 2, 9, 8)
    one, other = distillation_loss(target, predicted), distillation_loss(target, scale * predicted)
    assert one.cosine.item() == pytest.approx(other.cosine.item(), abs=1e-5)
    assert other.mse.item() == pytest.approx((scale * predicted - target).square().mean().item(), rel=1e-4)
    assert one.total.item() == pytest.approx((one.cosine + one.mse).item())


def test_maps_and_tokens_agree() -> None:
    target, predicted = features(0, 2, 8, 3, 3), features(1, 2, 8, 3, 3)
    maps = distillation_loss(target, predicted)
    tokens = distillation_loss(target.flatten(2).mT, predicted.flatten(2).mT)
    for one, other in zip(maps.parts.values(), tokens.parts.values(), strict=True):
        assert one.item() == pytest.approx(other.item(), abs=1e-6)


def test_opposite_features() -> None:
    target = features(0, 1, 4, 8)
    assert distillation_loss(target, -target).cosine.item() == pytest.approx(2, abs=1e-5)


def test_gradient_reaches_the_prediction_in_low_precision() -> None:
    predicted = features(1, 1, 4, 8).bfloat16().requires_grad_()
    distillation_loss(features(0, 1, 4, 8), predicted).total.backward()
    assert torch.isfinite(predicted.grad).all()
    assert predicted.grad.abs().sum() > 0


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_weights_are_those_of_patches_in_both_means(seed: int, scale: float) -> None:
    target, predicted = features(seed, 2, 9, 8), features(seed + 1, 2, 9, 8)
    weights = features(seed, 2, 9).abs()
    found = distillation_loss(target, predicted, scale * weights)
    cosines = torch.cosine_similarity(target, predicted, dim=-1)
    squares = (target - predicted).square().mean(-1)
    for term, each in ((found.cosine, 1 - cosines), (found.mse, squares)):
        assert term.item() == pytest.approx(float((weights * each).sum() / weights.sum()), rel=1e-4)
    grid = distillation_loss(
        target.mT.unflatten(2, (3, 3)), predicted.mT.unflatten(2, (3, 3)), weights.unflatten(1, (3, 3))
    )
    assert grid.total.item() == pytest.approx(found.total.item(), rel=1e-5)
    even = distillation_loss(target, predicted, torch.full((2, 9), scale))
    assert even.total.item() == pytest.approx(distillation_loss(target, predicted).total.item(), rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 8), (1, 4, 1), (4,)])
def test_weights_are_one_a_patch(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"one a patch, \[1, 4\]"):
        distillation_loss(features(0, 1, 4, 8), features(1, 1, 4, 8), torch.ones(shape))


def test_shapes_must_match() -> None:
    with pytest.raises(ConfigError, match=r"\[1, 4, 8\]"):
        distillation_loss(features(0, 1, 4, 8), features(0, 1, 4, 9))


@given(
    target=st.sampled_from([0.0, 1e-45, 1e-30, 1e-4, 1.0, 1e4, 65504.0]),
    predicted=st.sampled_from([0.0, 1e-45, 1e-30, 1e-4, 1.0, 1e4]),
    seed=st.integers(0, 100),
)
def test_features_that_are_zero_or_nearly_give_finite_losses_and_gradients(
    target: float, predicted: float, seed: int
) -> None:
    """A zero vector has no direction: its cosine is 0, and its gradient is the squared error's and no NaN."""
    wanted = (target * features(seed, 1, 9, 8)).requires_grad_()
    given_ = (predicted * features(seed + 1, 1, 9, 8)).requires_grad_()
    loss = distillation_loss(wanted, given_)
    loss.total.backward()
    assert all(torch.isfinite(term) for term in loss.parts.values())
    assert torch.isfinite(given_.grad).all()
    if not target:
        assert loss.cosine.item() == pytest.approx(1)
        torch.testing.assert_close(given_.grad, 2 * given_.detach() / given_.numel())
