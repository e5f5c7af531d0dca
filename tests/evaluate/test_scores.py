import math

import numpy as np
import pytest

from phreg.evaluate.scores import IGNORE, ConfusionMatrix


def maps(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def test_a_perfect_prediction() -> None:
    matrix = ConfusionMatrix(3)
    matrix.add(maps([0, 1], [2, 2]), maps([0, 1], [2, 2]))
    assert matrix.mean_iou == matrix.pixel_accuracy == 1


def test_values_by_hand() -> None:
    matrix = ConfusionMatrix(3)
    matrix.add(maps([0, 0, 1, 1]), maps([0, 1, 1, IGNORE]))
    np.testing.assert_allclose(matrix.class_iou, [1 / 2, 1 / 2, np.nan])
    assert matrix.mean_iou == 0.5
    assert matrix.pixel_accuracy == pytest.approx(2 / 3)


def test_scores_are_of_the_whole_set_not_a_mean_of_images() -> None:
    one, whole = ConfusionMatrix(2), ConfusionMatrix(2)
    rng = np.random.default_rng(0)
    images = [(rng.integers(0, 2, (4, n), np.uint8), rng.integers(0, 2, (4, n), np.uint8)) for n in (2, 9)]
    for predicted, labels in images:
        one.add(predicted, labels)
    whole.add(*(np.concatenate(side, 1) for side in zip(*images, strict=True)))
    assert (one.counts == whole.counts).all()


def test_what_is_predicted_where_labels_do_not_count_is_nothing() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, IGNORE], (20, 20)).astype(np.uint8)
    predicted = rng.integers(0, 2, (20, 20), np.uint8)
    other = np.where(labels == IGNORE, 1 - predicted, predicted)
    a, b = ConfusionMatrix(2), ConfusionMatrix(2)
    a.add(predicted, labels)
    b.add(other, labels)
    assert (a.counts == b.counts).all()


def test_nothing_counted_is_no_score() -> None:
    matrix = ConfusionMatrix(2)
    matrix.add(maps([0]), maps([IGNORE]))
    assert math.isnan(matrix.mean_iou)
    assert math.isnan(matrix.pixel_accuracy)


@pytest.mark.parametrize(("predicted", "labels"), [([2], [0]), ([0], [2])])
def test_an_index_past_the_classes_is_an_error(predicted, labels) -> None:
    with pytest.raises(ValueError, match="but there are 2 classes"):
        ConfusionMatrix(2).add(maps(predicted), maps(labels))


def test_shapes_that_differ_are_an_error() -> None:
    with pytest.raises((ValueError, TypeError)):  # the shape check of tests comes first
        ConfusionMatrix(2).add(maps([0]), maps([0, 1]))
