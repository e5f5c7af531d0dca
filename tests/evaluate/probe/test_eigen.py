from dataclasses import replace

import numpy as np
import torch

from phreg.evaluate.probe.eigen import counted_depths
from tests.evaluate.probe.sets import probe_data


def test_nyu_counts_within_eigens_crop() -> None:
    depth = np.ones((480, 640), np.float32)
    nyu = replace(probe_data(torch.zeros(1, 2, 2, 2), depths=[depth]), name="nyu_depth")
    (counted,) = counted_depths(nyu)
    rows, columns = np.nonzero(counted)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (45, 470, 41, 600)
    assert counted.sum() == 426 * 560
    assert depth.all()


def test_other_sets_and_sizes_count_all() -> None:
    for name, shape in (("folder", (480, 640)), ("nyu_depth", (240, 320))):
        data = probe_data(torch.zeros(1, 2, 2, 2), depths=[np.ones(shape, np.float32)])
        assert all(depth.all() for depth in counted_depths(replace(data, name=name)))
