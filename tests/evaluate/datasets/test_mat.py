import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phreg.errors import DataError
from phreg.evaluate.datasets.mat import read_label_matrix
from tests.evaluate.datasets.trees import write_mat

LABELS = np.arange(15).reshape(3, 5)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("stored", ["u1", "u2", "f8"])  # MATLAB stores whole numbers as small as they fit
def test_a_matrix_comes_back(tmp_path: Path, compress: bool, stored: str) -> None:
    found = read_label_matrix(write_mat(tmp_path / "a.mat", LABELS, compress, stored))
    assert found.dtype == np.uint16
    assert (found == LABELS).all()


def test_small_elements_hold_their_data_in_the_tag(tmp_path: Path) -> None:
    labels = np.array([[7, 300]])
    assert (read_label_matrix(write_mat(tmp_path / "a.mat", labels)) == labels).all()


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan, 70000.0])
def test_values_that_are_no_labels(tmp_path: Path, value: float) -> None:
    path = write_mat(tmp_path / "a.mat", np.array([[value]]), stored="f8")
    with pytest.raises(DataError, match=r"a\.mat[\s\S]*no labels"):
        read_label_matrix(path)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(126, 260), byte=st.integers(0, 255), cut=st.integers(0, 300))
def test_whatever_is_broken_is_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int, cut: int
) -> None:
    """Any byte changed, any length: labels of the right size, or an error that names the file."""
    path = write_mat(tmp_path_factory.mktemp("mat") / "a.mat", LABELS, compress=False)
    data = bytearray(path.read_bytes()[: cut or None])
    if position < len(data):
        data[position] = byte
    path.write_bytes(data)
    try:
        found = read_label_matrix(path)
    except DataError as error:
        assert error.problem.endswith("a.mat")  # noqa: PT017
    else:
        assert found.size == LABELS.size


def test_a_bomb_is_not_unpacked_whole(tmp_path: Path) -> None:
    packed = zlib.compress(struct.pack("<II", 14, 2**31) + bytes(10**6))
    path = write_mat(tmp_path / "a.mat", LABELS)
    path.write_bytes(path.read_bytes()[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(DataError, match="cut short"):
        read_label_matrix(path)
