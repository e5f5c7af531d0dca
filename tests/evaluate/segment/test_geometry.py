from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phreg.config.labels import SegmentationConfig
from phreg.errors import ConfigError, SampleError
from phreg.evaluate.segment.geometry import MAX_ASPECT, check_windows, input_size, origins


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 100))
def test_windows_cover_a_side(length: int, window: int, stride: int) -> None:
    window, stride = min(window, length), min(stride, window)
    found = origins(length, window, stride)
    assert found[0] == 0
    assert found[-1] == length - window
    steps = [b - a for a, b in pairwise(found)]
    assert all(0 < step <= stride for step in steps)
    assert all(step == stride for step in steps[:-1])


def test_windows_as_mmsegmentation_counts_them() -> None:
    assert origins(336, 224, 112) == [0, 112]
    assert origins(448, 224, 112) == [0, 112, 224]
    assert origins(450, 224, 112) == [0, 112, 224, 226]
    assert origins(224, 224, 112) == [0]


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(8, 600), st.sampled_from([8, 14, 16]))
def test_inputs_are_whole_patches_of_nearly_the_right_shape(h: int, w: int, short: int, patch: int) -> None:
    if max(h, w) > MAX_ASPECT * min(h, w):
        with pytest.raises(SampleError, match="factor"):
            input_size((h, w), short, patch)
        return
    height, width = input_size((h, w), short, patch)
    scale = short / min(h, w)
    for found, side in ((height, h), (width, w)):
        assert found % patch == 0
        assert found > 0
        assert abs(found - side * scale) <= max(patch / 2, patch - side * scale)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 60}, "use for instance window: 56"),
        ({"window": 4}, "use for instance window: 8"),
        ({"window": 64, "stride": 65}, "gaps"),
        ({"stride": 8}, "without a window"),
    ],
)
def test_windows_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_windows(SegmentationConfig(**settings), 8)


def test_windows_that_can() -> None:
    for settings in ({}, {"window": 64}, {"window": 64, "stride": 64}, {"window": 64, "stride": 5}):
        check_windows(SegmentationConfig(**settings), 8)
