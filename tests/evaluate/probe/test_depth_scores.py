import numpy as np
import pytest

from phreg.errors import DataError
from phreg.evaluate.probe.depth_scores import mean_scores, measure_depth

MAX = 10.0


def test_measures_by_hand() -> None:
    # Ratios 1, 1.2 (below 1.25), 1.5 (below 1.5625), 2 (above 1.953); errors 0, 0.4, 1, 4 metres.
    measured = np.array([[1.0, 2.0], [2.0, 4.0]])
    predicted = np.array([[1.0, 2.4], [3.0, 8.0]])
    found = measure_depth(predicted, measured, MAX)
    assert found is not None
    assert found.rmse == pytest.approx(np.sqrt((0 + 0.16 + 1 + 16) / 4))
    assert found.abs_rel == pytest.approx((0 + 0.2 + 0.5 + 1) / 4)
    assert (found.delta1, found.delta2, found.delta3) == (0.5, 0.75, 0.75)


def test_the_truth_is_without_error() -> None:
    truth = np.random.default_rng(0).uniform(0.5, 9, (7, 5))
    assert measure_depth(truth, truth, MAX) == (0, 0, 1, 1, 1)


def test_a_ratio_counts_the_same_in_both_directions() -> None:
    near, far = np.full((2, 2), 2.0), np.full((2, 2), 3.0)
    over, under = measure_depth(far, near, MAX), measure_depth(near, far, MAX)
    assert over is not None
    assert under is not None
    assert (over.delta1, over.delta2, over.delta3) == (under.delta1, under.delta2, under.delta3) == (0, 1, 1)


def test_pixels_that_were_not_measured_do_not_count() -> None:
    measured = np.array([[0.0, 2.0, 0.0005, 10.0, 70.0]])
    wild = np.array([[5.0, 2.0, 9.0, 1.0, 1.0]])
    assert measure_depth(wild, measured, MAX) == (0, 0, 1, 1, 1)
    assert measure_depth(wild, np.zeros((1, 5)), MAX) is None


def test_predictions_are_clamped_to_the_range() -> None:
    measured = np.array([[9.0, 9.0]])
    beyond = measure_depth(np.array([[10.0, 10.0]]), measured, MAX)
    assert measure_depth(np.array([[1000.0, 11.0]]), measured, MAX) == beyond
    lowest = measure_depth(np.array([[-3.0, 0.0]]), measured, MAX)
    assert lowest is not None
    assert lowest.abs_rel == pytest.approx(1, abs=1e-3)


def test_images_weigh_the_same_whatever_their_pixels() -> None:
    large = measure_depth(np.full((9, 9), 2.0), np.full((9, 9), 2.0), MAX)
    sparse = np.zeros((9, 9))
    sparse[0, 0] = 2
    small = measure_depth(np.full((9, 9), 4.0), sparse, MAX)
    scores = mean_scores([large, small, None])
    assert (scores.rmse, scores.abs_rel, scores.delta1, scores.images) == (1.0, 0.5, 0.5, 2)


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(DataError, match="measured"):
        mean_scores([None, None])
