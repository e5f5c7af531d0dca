import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.evaluate.segment import labels
from phreg.evaluate.segment.labels import bands, class_labels, class_probabilities, rows_at

OWNER = torch.tensor([0, 1, 1, 2])


def cosines(seed: int = 0, names: int = 4, height: int = 9, width: int = 7) -> torch.Tensor:
    return torch.rand(names, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_probability_of_a_class_is_its_likeliest_names() -> None:
    maps = cosines()
    of_name = (40 * maps).softmax(0)
    found = class_probabilities(maps, OWNER, 3, 40.0)
    expected = torch.stack([of_name[0], torch.maximum(of_name[1], of_name[2]), of_name[3]])
    torch.testing.assert_close(found, expected)


def test_one_name_a_class_sums_to_one() -> None:
    total = class_probabilities(cosines(), torch.arange(4), 4, 40.0).sum(0)
    torch.testing.assert_close(total, torch.ones(9, 7))


@given(st.integers(0, 1000), st.floats(1, 60))
def test_labels_are_the_likeliest_classes(seed: int, scale: float) -> None:
    maps = cosines(seed)
    expected = class_probabilities(maps.double(), OWNER, 3, scale).argmax(0)
    assert torch.equal(class_labels(maps, OWNER, scale).long(), expected)


@given(st.integers(0, 1000), st.floats(0.3, 1.0))
def test_unsure_pixels_are_background(seed: int, threshold: float) -> None:
    maps = cosines(seed)
    plain = class_labels(maps, OWNER, 10.0)
    found = class_labels(maps, OWNER, 10.0, threshold, background=0)
    unsure = class_probabilities(maps, OWNER, 3, 10.0).amax(0) < threshold
    assert torch.equal(found, torch.where(unsure, 0, plain).to(torch.uint8))
    assert torch.equal(class_labels(maps, OWNER, 10.0, threshold, background=None), plain)
    assert torch.equal(class_labels(maps, OWNER, 10.0, None, background=0), plain)


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 30), st.integers(1, 30), st.data())
def test_rows_are_those_of_interpolate(h: int, w: int, height: int, width: int, data: st.DataObject) -> None:
    maps = cosines(1, 2, h, w)
    whole = F.interpolate(maps[None], size=(height, width), mode="bilinear", align_corners=False)[0]
    first = data.draw(st.integers(0, height - 1))
    last = data.draw(st.integers(first + 1, height))
    torch.testing.assert_close(
        rows_at(maps, (height, width), first, last), whole[:, first:last], rtol=0, atol=1e-5
    )


def test_bands_cover_all_rows_and_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MAX_VALUES", 1000)
    found = bands(5, (77, 40))
    assert [row for first, last in found for row in range(first, last)] == list(range(77))
    assert all((last - first) * 5 * 40 <= 1000 for first, last in found)
    assert bands(500, (3, 400)) == [(0, 1), (1, 2), (2, 3)]
