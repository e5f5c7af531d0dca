import numpy as np
import pytest

from phreg.evaluate.bootstrap import DRAWS, drawn_weights, paired_difference
from phreg.evaluate.scores import IGNORE, ConfusionMatrix
from phreg.evaluate.set_counts import SetCounts, class_iou, mean_iou, pixel_accuracy


def matrices(seed: int, images: int = 7, classes: int = 4, right: float = 0.6) -> list[ConfusionMatrix]:
    rng, found = np.random.default_rng(seed), []
    for image in range(images):
        labels = np.random.default_rng(100 + image).choice(
            [*range(classes - image % 2), IGNORE], (6, 5 + image)
        )
        guess = np.where(
            rng.random(labels.shape) < right, labels % classes, rng.integers(0, classes, labels.shape)
        )
        found.append(ConfusionMatrix(classes))
        found[-1].add(guess, labels)
    return found


def counts(seed: int, **options: object) -> SetCounts:
    found = matrices(seed, **options)  # type: ignore[arg-type]
    return SetCounts.of([f"image {i}" for i in range(len(found))], found, 4)


def test_scores_are_those_of_one_matrix_of_all_pixels() -> None:
    whole = ConfusionMatrix(4)
    for one in matrices(0):
        whole.counts += one.counts
    found = counts(0)
    sums = found.counts.sum(0)
    np.testing.assert_allclose(class_iou(sums), whole.class_iou)
    assert float(mean_iou(sums, found.chosen(None))) == pytest.approx(whole.mean_iou)
    assert float(pixel_accuracy(sums)) == pytest.approx(whole.pixel_accuracy)


def test_classes_of_few_images_are_left_out() -> None:
    found = counts(0)  # the last class is labelled in every second image
    assert found.chosen(4).all()
    assert found.chosen(5).tolist() == [True, True, True, False]
    assert float(mean_iou(found.counts.sum(0), found.chosen(5))) == pytest.approx(
        class_iou(found.counts.sum(0))[:3].mean()
    )
    assert np.isnan(mean_iou(found.counts.sum(0), found.chosen(8)))


@pytest.mark.parametrize("measure", ["mIoU", "pixel accuracy"])
def test_a_method_equals_itself(measure: str) -> None:
    found = paired_difference(counts(0), counts(0), measure, None, 0.95)
    assert (found.value, found.low, found.high, found.images) == (0, 0, 0, 7)


@pytest.mark.parametrize("measure", ["mIoU", "pixel accuracy"])
def test_the_interval_is_that_of_sets_put_together_by_hand(measure: str) -> None:
    first, second = matrices(0), matrices(1, right=0.5)
    found = paired_difference(counts(0), counts(1, right=0.5), measure, None, 0.8)
    by_hand = []
    for weights in drawn_weights(7).astype(int):
        scores = []
        for one in (first, second):
            whole = ConfusionMatrix(4)
            whole.counts = sum(weight * m.counts for weight, m in zip(weights, one, strict=True))
            scores.append(whole.mean_iou if measure == "mIoU" else whole.pixel_accuracy)
        by_hand.append(scores[0] - scores[1])
    assert len(by_hand) == DRAWS
    assert [found.low, found.high] == pytest.approx(list(np.quantile(by_hand, [0.1, 0.9])))
    assert found.low < found.value < found.high


def test_draws_are_of_as_many_images_and_always_the_same() -> None:
    weights = drawn_weights(9)
    assert (weights.sum(1) == 9).all()
    assert (weights == drawn_weights(9)).all()
    assert abs(weights.mean() - 1) < 1e-12
    assert abs(weights.var() - 8 / 9) < 0.05  # of a count of 9 tries, each with 1 chance in 9


def test_more_confidence_is_a_wider_interval_and_swapped_sides_its_mirror() -> None:
    first, second = counts(0), counts(1, right=0.5)
    narrow, wide = (paired_difference(first, second, "mIoU", None, c) for c in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    back = paired_difference(second, first, "mIoU", None, 0.8)
    assert (back.value, back.low, back.high) == pytest.approx((-narrow.value, -narrow.high, -narrow.low))


def test_images_are_paired_by_key() -> None:
    first, second = counts(0), counts(1)
    shuffled = second.of_keys(second.keys[::-1])
    assert paired_difference(first, shuffled, "mIoU", None, 0.9) == paired_difference(
        first, second, "mIoU", None, 0.9
    )
    fewer = second.of_keys(second.keys[:4])
    assert paired_difference(first, fewer, "mIoU", None, 0.9).images == 4
    assert np.isnan(paired_difference(first, second.of_keys([]), "mIoU", None, 0.9).value)
