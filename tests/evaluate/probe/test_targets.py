import numpy as np
import torch

from phreg.evaluate.probe.targets import reduced, reduced_map


def test_only_values_that_were_there_and_each_from_its_place() -> None:
    image = np.arange(60 * 80, dtype=np.float32).reshape(60, 80)
    found = reduced([image], (3, 4))[0]
    assert found.shape == (12, 16)
    # Each of the 5 x 5 blocks gives its middle.
    assert torch.equal(found, torch.from_numpy(image[2::5, 2::5]))


def test_images_of_any_size_become_one_batch() -> None:
    maps = [np.full(shape, i, np.uint8) for i, shape in enumerate([(5, 9), (64, 64), (3, 200)])]
    found = reduced(maps, (2, 3))
    assert found.shape == (3, 8, 12)
    assert found.dtype == torch.uint8
    assert found.flatten(1).unique(dim=1).flatten().tolist() == [0, 1, 2]


def test_what_is_reduced_stays_as_it_is() -> None:
    image = np.random.default_rng(0).random((60, 80)).astype(np.float32)
    once = reduced_map(image, (37, 23))
    assert np.array_equal(reduced_map(once, (37, 23)), once)
