from pathlib import Path

import numpy as np
import pytest
import torch

from phreg.errors import DataError, ModelError
from phreg.evaluate.datasets.base import LabelledImage
from phreg.evaluate.probe import ProbeData, extract_features
from phreg.evaluate.probe import extract as extract_module
from phreg.evaluate.probe.extract import resized
from phreg.method.denoising import Denoising, denoise
from phreg.method.views import sample_views
from phreg.models import Backbone, load_backbone
from phreg.storage import Folder
from tests.evaluate.probe.sets import MemorySet, picture
from tests.helpers import tiny_dinov2

SIZE = 32


@pytest.fixture
def backbone() -> Backbone:
    return load_backbone(tiny_dinov2(SIZE))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "features"))


def images(n: int, first: int = 0) -> list[LabelledImage]:
    return [
        LabelledImage(f"key {i}", picture(i), labels=np.full((40, 48), i % 3, np.uint8))
        for i in range(first, first + n)
    ]


def same(a: ProbeData, b: ProbeData) -> bool:
    return a.keys == b.keys and torch.equal(a.features, b.features)


def test_features_are_the_backbones_and_labels_keep_their_size(backbone: Backbone) -> None:
    data = extract_features(backbone, MemorySet(images(3), 3))
    assert data.features.shape == (3, backbone.out_dim, 4, 4)
    assert data.features.dtype == torch.float16
    assert data.keys == ("key 0", "key 1", "key 2")
    assert [labels.shape for labels in data.labels_of(3)] == [(40, 48)] * 3
    for i in range(3):
        pixels = torch.from_numpy(resized(picture(i), (SIZE, SIZE)))[None]
        expected = backbone(backbone.normalize(pixels))[0]
        assert torch.equal(data.features[i], expected.half())


def test_another_size_is_another_grid_and_the_patch_must_divide_it(backbone: Backbone) -> None:
    assert extract_features(backbone, MemorySet(images(1)), 48).features.shape[2:] == (6, 6)
    with pytest.raises(ModelError, match="patches of 8"):
        extract_features(backbone, MemorySet(images(1)), 44)


def test_stored_features_need_no_forward_pass(backbone: Backbone, folder: Folder) -> None:
    calls = []
    backbone.register_forward_hook(lambda *_: calls.append(1))
    first = extract_features(backbone, MemorySet(images(5)), folder=folder)
    assert len(calls) == first.forward_passes == 5
    calls.clear()
    again = extract_features(backbone, MemorySet(images(5), name="the same images elsewhere"), folder=folder)
    assert calls == []
    assert again.forward_passes == 0
    assert same(first, again)


def test_other_labels_are_no_other_images(backbone: Backbone, folder: Folder) -> None:
    extract_features(backbone, MemorySet(images(2)), folder=folder)
    relabelled = [LabelledImage(item.key, item.image, depth=np.ones((40, 48))) for item in images(2)]
    data = extract_features(backbone, MemorySet(relabelled), folder=folder)
    assert data.forward_passes == 0
    assert len(data.all_depths()) == 2


def test_other_pixels_models_sizes_and_views_are_made_anew(backbone: Backbone, folder: Folder) -> None:
    def passes(model: Backbone, items: list[LabelledImage], *args: object, **options: object) -> int:
        return extract_features(model, MemorySet(items), *args, folder=folder, **options).forward_passes

    assert passes(backbone, images(2)) == 2
    dot = images(2)
    dot[1].image[20:, 20:] = 0
    assert passes(backbone, dot) == 2
    assert passes(backbone, images(2)[::-1]) == 2
    assert passes(backbone, images(2), 48) == 2
    assert passes(backbone, images(2), denoising=Denoising.of_views(3)) == 6
    assert passes(backbone, images(2), denoising=Denoising.of_views(3, seed=1)) == 6
    assert passes(load_backbone(tiny_dinov2(SIZE, seed=1)), images(2)) == 2
    assert passes(load_backbone(tiny_dinov2(SIZE), read_out="value"), images(2)) == 2
    assert passes(load_backbone(tiny_dinov2(SIZE), mean=(0.0, 0.0, 0.0)), images(2)) == 2
    assert len(folder.children()) == 9
    assert passes(load_backbone(tiny_dinov2(SIZE)), images(2)) == 0


def test_views_give_the_denoised_features(backbone: Backbone, folder: Folder) -> None:
    views = sample_views(4, 4, 0.3)
    data = extract_features(
        backbone, MemorySet(images(2)), folder=folder, denoising=Denoising.of_views(4, 0.3)
    )
    pixels = np.stack([resized(picture(i), (SIZE, SIZE)) for i in range(2)])
    expected = denoise(backbone, backbone.normalize(torch.from_numpy(pixels)), views)
    assert torch.equal(data.features, expected.half())


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "header", "other"])
def test_a_damaged_object_is_made_again(backbone: Backbone, folder: Folder, damage: str) -> None:
    whole = extract_features(backbone, MemorySet(images(2)), folder=folder)
    (name,) = folder.children()
    data = bytearray(folder.read(name))
    if damage == "flip":
        data[-100] ^= 1
    elif damage == "cut":
        del data[-10:]
    elif damage == "empty":
        data.clear()
    elif damage == "header":
        data = data.replace(b'"features"', b'"featurez"')
    else:
        data = bytearray(b"not safetensors at all")
    folder.write(name, bytes(data))
    healed = extract_features(backbone, MemorySet(images(2)), folder=folder)
    assert healed.forward_passes == 2
    assert same(whole, healed)
    assert extract_features(backbone, MemorySet(images(2)), folder=folder).forward_passes == 0


def test_large_sets_are_stored_in_parts_that_are_found_alone(
    backbone: Backbone, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_module, "IMAGES_PER_ENTRY", 2)
    told: list[tuple[int, int]] = []
    data = extract_features(
        backbone, MemorySet(images(5)), folder=folder, on_progress=lambda *at: told.append(at)
    )
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert len(folder.children()) == 3
    first = extract_features(backbone, MemorySet(images(4)), folder=folder)
    assert first.forward_passes == 0
    assert torch.equal(first.features, data.features[:4])


def test_bad_images_are_skipped_and_named(backbone: Backbone) -> None:
    items: list = images(4)
    items[1] = DataError("b.png is unreadable")
    data = extract_features(backbone, MemorySet(items, 3))
    assert data.keys == ("key 0", "key 2", "key 3")
    assert [skipped.key for skipped in data.skipped] == ["image 1"]
    assert "b.png" in data.skipped[0].reason
    assert torch.equal(data.features[2], extract_features(backbone, MemorySet(images(1, 3))).features[0])


def test_features_that_are_not_finite_are_skipped_also_when_stored(
    backbone: Backbone, folder: Folder
) -> None:
    white = np.full((40, 48, 3), 255, np.uint8)
    items = [*images(1), LabelledImage("white", white)]

    def overflow(_: object, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        bright = (inputs[0].amin((1, 2, 3)) > 1)[:, None, None, None]
        return torch.where(bright, output * 1e6, output)

    backbone.register_forward_hook(overflow)
    for passes in (2, 0):
        data = extract_features(backbone, MemorySet(items), folder=folder)
        assert data.forward_passes == passes
        assert data.keys == ("key 0",)
        assert [skipped.key for skipped in data.skipped] == ["white"]


def test_a_set_without_a_usable_image_is_an_error(backbone: Backbone) -> None:
    with pytest.raises(DataError, match=r"1 skipped.*gone"):
        extract_features(backbone, MemorySet([DataError("gone")]))
    with pytest.raises(DataError, match="empty"):
        extract_features(backbone, MemorySet([]))


def test_labels_that_are_missing_or_no_class_are_named(backbone: Backbone) -> None:
    data = extract_features(backbone, MemorySet([*images(3), LabelledImage("bare", picture(9))], 3))
    with pytest.raises(DataError, match="'bare'"):
        data.labels_of(3)
    with pytest.raises(DataError, match="'key 0'"):
        data.all_depths()
    with pytest.raises(DataError, match=r"key 2.*no class"):
        extract_features(backbone, MemorySet(images(3), 2)).labels_of(2)
