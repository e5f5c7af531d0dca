from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.config.labels import SegmentationConfig
from phreg.errors import ConfigError, ModelError, NonFiniteError, SampleError
from phreg.evaluate.segment import Segmenter, class_embeddings, labels
from phreg.method.denoising import Denoising, denoise
from phreg.method.views import sample_views
from phreg.models import load_backbone
from phreg.models.text import load_text
from tests.evaluate.segment.examples import PATCH, backbone, image, patch_features, random_names, segmenter
from tests.helpers import save_tiny_open_clip, tiny_dinov2


def centres(label_map: np.ndarray, scale: int = 1) -> np.ndarray:
    """Labels at the middle of every patch."""
    side = PATCH * scale
    return label_map[side // 2 :: side, side // 2 :: side]


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (64, 120)])
def test_patches_named_after_their_own_features_are_found(width: int, height: int) -> None:
    model, pixels = backbone(), image(1, width, height)
    names = patch_features(model, pixels)
    found = Segmenter(model, names, torch.arange(len(names)), len(names)).predict(pixels)
    assert found.shape == (height, width)
    assert found.dtype == np.uint8
    expected = np.arange(len(names)).reshape(height // PATCH, width // PATCH)
    assert np.array_equal(centres(found), expected)


def test_names_of_one_class_are_one_class() -> None:
    """The patches of the left and of the right half, each half a class with a name a patch."""
    model, pixels = backbone(), image(1)
    columns = torch.arange(64) % 8
    names = patch_features(model, pixels)
    order = torch.argsort((columns >= 4).long(), stable=True)
    owner = (columns >= 4).long()[order]
    found = Segmenter(model, names[order], owner, 2).predict(pixels)
    assert np.array_equal(centres(found), np.tile(np.arange(8) >= 4, (8, 1)))


def test_each_window_by_itself() -> None:
    """Windows side by side are independent images."""
    whole = image(2, 192, 128)
    found = segmenter(short_side=128, window=64, stride=64).predict(whole)
    single = segmenter(short_side=64)
    for top in (0, 64):
        for left in (0, 64, 128):
            part = (slice(top, top + 64), slice(left, left + 64))
            assert np.array_equal(found[part], single.predict(whole[part]))


def test_a_window_as_large_as_the_image_is_the_whole_image() -> None:
    pixels = image(3, 96, 64)
    expected = segmenter().predict(pixels)
    for side in (96, 200):
        assert np.array_equal(segmenter(window=side).predict(pixels), expected)


def test_overlapping_windows_are_averaged() -> None:
    """Two windows that share their middle: alone at the sides, the mean of both in between."""
    pixels = image(4, 96, 64)
    model, names = backbone(), random_names(3)
    owner = torch.arange(3)

    def cosines(part: np.ndarray) -> np.ndarray:
        one = Segmenter(model, names, owner, 3, SegmentationConfig(logit_scale=1.0))
        return np.log(one.probabilities(part))  # up to a constant a pixel

    left, right = cosines(pixels[:, :64]), cosines(pixels[:, 32:])
    both = Segmenter(model, names, owner, 3, SegmentationConfig(window=64, stride=32, logit_scale=1.0))
    found = np.log(both.probabilities(pixels))

    def same(a: np.ndarray, b: np.ndarray) -> None:
        np.testing.assert_allclose(a - a[:1], b - b[:1], atol=1e-4)

    same(found[..., :32], left[..., :32])
    same(found[..., 64:], right[..., 32:])
    same(found[..., 32:64], (left[..., 32:] + right[..., :32]) / 2)


@settings(deadline=None, max_examples=10)
@given(
    st.integers(0, 99),
    st.sampled_from([{}, {"window": 48, "stride": 20}, {"short_side": 32}, {"background_threshold": 0.3}]),
)
def test_batches_and_single_images_agree(seed: int, options: dict) -> None:
    images = np.stack([image(seed + i, 80, 64) for i in range(3)])
    one = segmenter(background=0, **options)
    singles = np.stack([one.predict(pixels) for pixels in images])
    assert (one.predict_batch(images) == singles).mean() > 0.999


def test_forward_passes_of_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.stack([image(i) for i in range(3)])
    expected = segmenter().predict_batch(images)
    monkeypatch.setattr("phreg.evaluate.segment.features.PIXELS_PER_FORWARD", 1)
    assert (segmenter().predict_batch(images) == expected).mean() > 0.999


@pytest.mark.parametrize("size", [(50, 70), (64, 96), (128, 200), (1, 1)])
def test_at_the_size_of_the_labels(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = image(5, 96, 64)
    found = segmenter().predict(pixels, size)
    assert found.shape == size
    probabilities = segmenter(names=4).probabilities(pixels, size)
    assert probabilities.shape == (4, *size)
    assert np.array_equal(probabilities.argmax(0), segmenter(names=4).predict(pixels, size))
    monkeypatch.setattr(labels, "MAX_VALUES", 100)
    assert np.array_equal(segmenter().predict(pixels, size), found)


@pytest.mark.parametrize(("width", "height"), [(100, 75), (33, 64), (500, 333)])
def test_any_size_of_image(width: int, height: int) -> None:
    assert segmenter(short_side=32).predict(image(6, width, height)).shape == (height, width)


def test_default_short_side_is_the_models_size() -> None:
    pixels = image(7, 192, 128)
    assert np.array_equal(segmenter().predict(pixels), segmenter(short_side=64).predict(pixels))
    assert not np.array_equal(segmenter().predict(pixels), segmenter(short_side=128).predict(pixels))


def test_background_by_threshold() -> None:
    pixels = image(8)
    plain = segmenter(names=4, background=3)
    unsure = plain.probabilities(pixels).max(0) < 0.5
    assert 0 < unsure.mean() < 1
    found = segmenter(names=4, background=3, background_threshold=0.5).predict(pixels)
    assert np.array_equal(found, np.where(unsure, 3, plain.predict(pixels)))
    without = segmenter(names=4, background=None, background_threshold=0.5)
    assert np.array_equal(without.predict(pixels), plain.predict(pixels))


def test_views_are_averaged_before_the_cosines() -> None:
    model, pixels, names = backbone(), image(9), random_names(4)
    plan = Denoising.of_views(count=6, max_shift=0.2, seed=3)
    found = Segmenter(model, names, torch.arange(4), 4, denoising=plan).probabilities(pixels)
    clean = denoise(model, model.normalize(torch.from_numpy(pixels)[None]), sample_views(8, 6, 0.2, 3))
    cosines = torch.einsum("chw,nc->nhw", torch.nn.functional.normalize(clean[0], dim=0), names)
    fine = torch.nn.functional.interpolate(cosines[None], scale_factor=8, mode="bilinear")[0]
    np.testing.assert_allclose(found, (40 * fine).softmax(0).numpy(), atol=1e-5)


def test_one_view_is_no_denoising() -> None:
    model, pixels, names = backbone(), image(9, 96, 64), random_names(4)
    plain = Segmenter(model, names, torch.arange(4), 4)
    one_view = Segmenter(model, names, torch.arange(4), 4, denoising=Denoising.of_views(count=1))
    np.testing.assert_allclose(one_view.probabilities(pixels), plain.probabilities(pixels), atol=1e-4)


def test_pamr_follows_the_image() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    rough, refined = segmenter(), segmenter(pamr_steps=10)
    found = refined.predict(pixels)
    assert found.shape == (64, 64)
    assert not np.array_equal(found, rough.predict(pixels))
    changes = [int((p[:, 1:] != p[:, :-1]).sum()) for p in (found[:, :32], rough.predict(pixels)[:, :32])]
    assert changes[0] <= changes[1]
    np.testing.assert_allclose(segmenter(names=4, pamr_steps=3).probabilities(pixels).sum(0), 1, atol=1e-4)


def test_of_text_and_image_of_one_clip(tmp_path: Path) -> None:
    """From class names to a label map, with open_clip's own embeddings as the reference."""
    model = save_tiny_open_clip(tmp_path / "clip")
    tower, text = load_backbone(model, read_out="value"), load_text(model)
    embeddings, owner = class_embeddings(text, [("sky", "cloud"), ("sea",), ("sand",)])
    found = Segmenter(tower, embeddings, owner, 3).predict(image(1))
    cosines = patch_features(tower, image(1)) @ embeddings.T
    best = torch.stack([cosines[:, :2].amax(1), cosines[:, 2], cosines[:, 3]], 1)
    sure = (best.topk(2).values.diff().abs() > 0.02).flatten().reshape(8, 8).numpy()
    expected = best.argmax(1).reshape(8, 8).numpy()
    assert (centres(found) == expected)[sure].mean() > 0.9


def test_parts_that_do_not_fit() -> None:
    names, owner = random_names(4), torch.arange(4)
    with pytest.raises(ModelError, match="not of one CLIP"):
        Segmenter(load_backbone(tiny_dinov2()), names, owner, 4)
    for classes in (3, 5, 0):
        with pytest.raises(ConfigError, match="do not fit together"):
            Segmenter(backbone(), names, owner, classes)
    with pytest.raises(ConfigError, match="1 to 255"):
        Segmenter(backbone(), random_names(256), torch.arange(256), 256)
    with pytest.raises(ConfigError, match="background is no class"):
        Segmenter(backbone(), names, owner, 4, background=4)
    with pytest.raises(ConfigError, match="patches of 8"):
        segmenter(window=30)


def test_images_that_cannot_be_segmented() -> None:
    with pytest.raises(SampleError, match="factor of at most"):
        segmenter().predict(np.zeros((4, 400, 3), np.uint8))
    broken = segmenter()
    with torch.no_grad():
        broken.backbone.vit.blocks[0].mlp.fc1.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="dense features"):
        broken.predict(image(0))
