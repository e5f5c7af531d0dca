import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.evaluate.segment.pamr import DILATIONS, affinities, neighbours, pamr


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 20), st.integers(1, 20))
def test_weights_are_a_mean(seed: int, height: int, width: int) -> None:
    weights = affinities(random(seed, 3, height, width))
    assert weights.shape == (8 * len(DILATIONS), height, width)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(0), torch.ones(height, width))


def test_a_constant_stays() -> None:
    scores = torch.tensor([0.2, -3.0, 7.0])[:, None, None].expand(3, 12, 9)
    torch.testing.assert_close(pamr(scores, random(0, 3, 12, 9), 10), scores, rtol=0, atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_sums_stay_and_nothing_leaves_the_range(seed: int, steps: int) -> None:
    scores = random(seed, 4, 10, 13).softmax(0)
    found = pamr(scores, random(seed + 1, 3, 10, 13), steps)
    torch.testing.assert_close(found.sum(0), torch.ones(10, 13))
    assert found.min() >= scores.min() - 1e-6
    assert found.max() <= scores.max() + 1e-6


def test_no_steps_change_nothing() -> None:
    scores = random(0, 2, 5, 5)
    assert torch.equal(pamr(scores, random(1, 3, 5, 5), 0), scores)


def test_a_flat_image_means_equal_weights() -> None:
    weights = affinities(torch.full((3, 6, 6), 0.5))
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / len(weights)))


def test_linear_in_the_scores_and_blind_to_the_scale_of_intensity() -> None:
    image, a, b = random(0, 3, 8, 8), random(1, 2, 8, 8), random(2, 2, 8, 8)
    torch.testing.assert_close(pamr(2 * a + b, image, 3), 2 * pamr(a, image, 3) + pamr(b, image, 3))
    torch.testing.assert_close(pamr(a, 255 * image, 3), pamr(a, image, 3), rtol=1e-4, atol=1e-5)


def test_labels_move_to_the_edge_of_the_colours() -> None:
    """The border between two colours is at column 16, the scores' own at column 13."""
    image = torch.zeros(3, 32, 32)
    image[:, :, 16:] = 1.0
    image += 0.02 * random(0, 3, 32, 32)
    scores = torch.zeros(2, 32, 32)
    scores[0, :, :13], scores[1, :, 13:] = 1.0, 1.0
    true = (torch.arange(32) >= 16).long().expand(32, 32)
    before = (scores.argmax(0) == true).float().mean()
    after = (pamr(scores, image, 10).argmax(0) == true).float().mean()
    assert before < 0.91
    assert after > 0.99


@pytest.mark.parametrize("dilation", [1, 3])
def test_neighbours_are_the_eight_around(dilation: int) -> None:
    maps = torch.arange(35.0).reshape(1, 5, 7)
    found = [float(neighbour[0, 3, 3]) for neighbour in neighbours(maps, [dilation])]
    rows, columns = ([min(max(3 + d * dilation, 0), side - 1) for d in (-1, 0, 1)] for side in (5, 7))
    expected = [float(maps[0, y, x]) for y in rows for x in columns]
    assert found == expected[:4] + expected[5:]


def test_the_formula() -> None:
    """Spelled out for one pixel: softmax of -|difference| / (0.1 sigma), the mean over channels."""
    image = random(0, 3, 5, 5)
    around = image[:, 1:4, 1:4].flatten(1)
    others = around[:, [0, 1, 2, 3, 5, 6, 7, 8]]
    distance = (others - image[:, 2, 2, None]).abs() / (0.1 * around.std(1, keepdim=True))
    torch.testing.assert_close(affinities(image, [1])[:, 2, 2], (-distance.mean(0)).softmax(0))
