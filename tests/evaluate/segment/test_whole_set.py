import numpy as np
import pytest

from phreg.errors import ConfigError, DataError, SampleError
from phreg.evaluate.datasets.base import LabelledImage
from phreg.evaluate.scores import ConfusionMatrix
from phreg.evaluate.segment import SegmentationScores, segment_set
from phreg.evaluate.segment.whole_set import titles
from tests.evaluate.segment.examples import MemorySet, image, segmenter


def random_labels(seed: int, height: int = 64, width: int = 64, classes: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, (height, width), dtype=np.uint8)


def labelled(seed: int, width: int = 64, height: int = 64) -> LabelledImage:
    return LabelledImage(f"image-{seed}", image(seed, width, height), random_labels(seed, height, width))


def test_own_predictions_score_one() -> None:
    one = segmenter()
    items = [LabelledImage(str(i), image(i), one.predict(image(i))) for i in range(3)]
    scores = segment_set(one, MemorySet(items, 4))
    occurring = np.unique([item.labels for item in items])
    assert scores.miou == scores.pixel_accuracy == 1
    assert scores.class_iou == {f"class {i}": 1.0 if i in occurring else None for i in range(4)}
    assert (scores.images, scores.skipped) == (3, {})


def test_all_pixels_of_all_images_in_one_matrix() -> None:
    """Sizes that change from image to image, so batches of several lengths."""
    sizes = [(64, 64)] * 18 + [(96, 64), (64, 64), (96, 64), (96, 64)]
    items = [labelled(i, *size) for i, size in enumerate(sizes)]
    one, matrix = segmenter(), ConfusionMatrix(4)
    for item in items:
        matrix.add(one.predict(item.image), item.labels)
    scores = segment_set(one, MemorySet(items, 4))
    assert scores.miou == pytest.approx(matrix.mean_iou, abs=1e-4)
    assert scores.pixel_accuracy == pytest.approx(matrix.pixel_accuracy, abs=1e-4)
    assert list(scores.class_iou.values()) == pytest.approx(matrix.class_iou, abs=1e-4)
    assert scores.images == len(sizes)


def test_ignored_pixels_do_not_count() -> None:
    one = segmenter()
    true = one.predict(image(0))
    wrong = np.where(np.arange(64) < 20, (true + 1) % 4, true).astype(np.uint8)
    ignored = np.where(np.arange(64) < 20, 255, true).astype(np.uint8)
    assert segment_set(one, MemorySet([LabelledImage("a", image(0), wrong)], 4)).pixel_accuracy < 1
    assert segment_set(one, MemorySet([LabelledImage("a", image(0), ignored)], 4)).pixel_accuracy == 1


def test_bad_images_are_left_out_and_named() -> None:
    unknown = LabelledImage("unknown-class", image(3), np.full((64, 64), 7, np.uint8))
    thin = LabelledImage("thin", np.zeros((4, 400, 3), np.uint8), np.zeros((4, 400), np.uint8))
    unlabelled = LabelledImage("unlabelled", image(4))
    good = [labelled(0), labelled(1)]
    items = [good[0], SampleError("no such file: x.png"), unknown, thin, unlabelled, good[1]]
    scores = segment_set(segmenter(), MemorySet(items, 4))
    assert scores.images == 2
    assert set(scores.skipped) == {"image 1", "unknown-class", "thin", "unlabelled"}
    assert "x.png" in scores.skipped["image 1"]
    assert "7" in scores.skipped["unknown-class"]
    sound = segment_set(segmenter(), MemorySet(good, 4))
    assert scores.miou == pytest.approx(sound.miou, abs=1e-4)


@pytest.mark.parametrize(
    "items",
    [
        [],
        [SampleError("unreadable"), SampleError("unreadable too")],
        [LabelledImage("void", image(0), np.full((64, 64), 255, np.uint8))],
    ],
)
def test_nothing_to_measure(items: list) -> None:
    with pytest.raises(DataError, match="Nothing of memory could be measured"):
        segment_set(segmenter(), MemorySet(items, 4))


def test_progress_ends_at_all() -> None:
    seen: list[tuple[int, int]] = []
    items = [labelled(i) for i in range(20)] + [SampleError("bad")]
    segment_set(segmenter(), MemorySet(items, 4), lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (21, 21)


def test_another_sets_segmenter() -> None:
    with pytest.raises(ConfigError, match="5 classes"):
        segment_set(segmenter(), MemorySet([labelled(0)], 5))


def test_titles_that_classes_share() -> None:
    assert titles([("screen", "door"), ("sky",), ("screen",)]) == ["screen", "sky", "screen (2)"]


def test_scores_are_frozen_and_survive_json() -> None:
    scores = segment_set(segmenter(), MemorySet([labelled(0)], 4))
    assert SegmentationScores.model_validate_json(scores.model_dump_json()) == scores
    with pytest.raises(ValueError, match="frozen"):
        scores.miou = 1.0  # type: ignore[misc]
