import math

import pytest
import torch

from phreg.evaluate.probe.losses import segmentation_loss, sig_log_loss

G = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 3, 4, 4, generator=G)
LABELS = torch.randint(0, 3, (2, 16, 16), generator=G).to(torch.uint8)


def test_confident_and_right_is_no_loss_and_undecided_is_log_of_the_classes() -> None:
    labels = torch.full((1, 8, 8), 1, dtype=torch.uint8)
    sure = torch.tensor([-50.0, 50.0, -50.0])[None, :, None, None].expand(1, 3, 2, 2)
    assert segmentation_loss(sure, labels) < 1e-6
    assert segmentation_loss(torch.zeros(1, 3, 2, 2), labels) == pytest.approx(math.log(3))


def test_ignored_pixels_are_neither_seen_nor_counted() -> None:
    left = LABELS.clone()
    left[..., 8:] = 255
    # The left half alone: what the right half's logits say is of no account, but for the seam.
    other = LOGITS.clone()
    other[..., 3] += 7
    assert segmentation_loss(LOGITS, left) != segmentation_loss(LOGITS, LABELS)
    assert segmentation_loss(other, left) == segmentation_loss(LOGITS, left)
    assert torch.allclose(
        segmentation_loss(LOGITS, torch.cat([left, torch.full_like(left, 255)], 1)[:, :16]),
        segmentation_loss(LOGITS, left),
    )


def test_ignored_pixels_have_no_gradient() -> None:
    labels = LABELS.clone()
    labels[0] = 255
    logits = LOGITS.clone().requires_grad_()
    segmentation_loss(logits, labels).backward()
    assert logits.grad is not None
    assert not logits.grad[0].any()
    assert logits.grad[1].any()


def test_without_any_labelled_pixel_the_loss_is_zero() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = segmentation_loss(logits, torch.full_like(LABELS, 255))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


DEPTH = torch.rand(2, 8, 8, generator=G) * 8 + 1


def test_sig_log_forgives_most_of_a_wrong_scale() -> None:
    assert sig_log_loss(DEPTH, DEPTH, 10.0) < 1e-5
    doubled = sig_log_loss(DEPTH * 2, DEPTH, 10.0)
    assert doubled == pytest.approx(math.sqrt(0.15) * math.log(2), rel=1e-2)
    noisy = DEPTH * torch.where(torch.rand(DEPTH.shape, generator=G) < 0.5, 2.0, 0.5)
    assert sig_log_loss(noisy, DEPTH, 10.0) == pytest.approx(math.log(2), rel=5e-2)


def test_sig_log_does_not_see_what_was_not_measured() -> None:
    depth = DEPTH.clone()
    depth[:, :4], depth[:, 4] = 0, 11
    predicted = DEPTH * 1.5
    other = predicted.clone()
    other[:, :5] = 3
    assert sig_log_loss(other, depth, 10.0) == sig_log_loss(predicted, depth, 10.0)
    assert sig_log_loss(other, torch.zeros_like(depth), 10.0) == 0


def test_sig_log_has_a_finite_gradient_at_its_minimum() -> None:
    predicted = DEPTH.clone().requires_grad_()
    sig_log_loss(predicted, DEPTH, 10.0).backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
