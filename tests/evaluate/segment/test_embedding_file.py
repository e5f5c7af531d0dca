"""Class embeddings from files that somebody else wrote."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from phreg.errors import ConfigError, ObjectNotFoundError
from phreg.evaluate.segment import embedding_file
from phreg.evaluate.segment.embedding_file import read_embedding_file
from phreg.fingerprint import digest_bytes

CLASSES = (("background", "sky", "wall"), ("cat",), ("dog", "hound"))


def saved(path: Path, values: object, **options: object) -> str:
    np.save(path, np.asarray(values), **options)
    return str(path)


def unit(values: np.ndarray) -> np.ndarray:
    wide = values.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_classes_and_made_unit(tmp_path: Path, kind: str, order: str) -> None:
    values = np.asarray(np.random.default_rng(0).normal(size=(3, 5)) * 7, dtype=kind, order=order)
    place = saved(tmp_path / "a.npy", values)
    found = read_embedding_file(place)
    names = found.for_classes(CLASSES)
    np.testing.assert_allclose(names.embeddings.numpy(), unit(values), atol=1e-6)
    assert names.embeddings.dtype == torch.float32
    assert names.owner.tolist() == [0, 1, 2]
    assert (found.out_dim, found.digest) == (5, digest_bytes(Path(place).read_bytes()))


def test_a_background_told_by_a_threshold_needs_no_row(tmp_path: Path) -> None:
    found = read_embedding_file(saved(tmp_path / "a.npy", np.eye(2, 4)))
    assert found.for_classes(CLASSES, background=0).owner.tolist() == [1, 2]
    with pytest.raises(ConfigError, match=r"(?s)expected: 3 rows, one a class\n  found: 2"):
        found.for_classes(CLASSES)
    whole = read_embedding_file(saved(tmp_path / "b.npy", np.eye(3, 4)))
    assert whole.for_classes(CLASSES, background=0).owner.tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match="found: 3"):
        whole.for_classes(CLASSES[:1], background=0)


def test_names_find_their_classes_whatever_the_order(tmp_path: Path) -> None:
    vectors = {
        n: np.eye(6, dtype=np.float32)[i] * 3 for i, n in enumerate(("dog", "wall", "cat", "ant", "sky"))
    }
    save_file(vectors, tmp_path / "a.safetensors")
    names = read_embedding_file(str(tmp_path / "a.safetensors")).for_classes(CLASSES)
    assert names.owner.tolist() == [0, 0, 1, 2]  # sky, wall, cat, dog; no vector for `hound` is no matter
    assert names.embeddings.argmax(1).tolist() == [4, 1, 2, 0]
    assert torch.equal(names.embeddings.norm(dim=1), torch.ones(4))


def test_a_class_without_a_name_in_the_file_is_refused(tmp_path: Path) -> None:
    save_file({"cat": np.ones((1, 4), np.float32), "dog": np.ones(4, np.float16)}, tmp_path / "a.safetensors")
    found = read_embedding_file(str(tmp_path / "a.safetensors"))
    assert found.for_classes(CLASSES, background=0).owner.tolist() == [1, 2]
    with pytest.raises(ConfigError, match=r"(?s)1 of the 3 classes.*'background'.*'cat', 'dog'"):
        found.for_classes(CLASSES)


def npy(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def an_npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.eye(3))
    assert zipfile.is_zipfile(buffer)
    return buffer.getvalue()


def objects() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[print]], dtype=object), allow_pickle=True)
    return buffer.getvalue()


BROKEN = {
    "empty": b"",
    "text": b"cat 0.1 0.2",
    "pickle": pickle.dumps([1.0]),
    "objects": objects(),
    "npz": an_npz(),
    "cut header": npy("{'descr': '<f4'")[:40],
    "header no syntax": npy("((((((("),
    "terabytes": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }") + b"0000",
    "negative": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1), }") + b"0000",
    "cut": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }") + b"0000",
    "longer": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }") + b"0000" * 2,
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("ending", ["npy", "safetensors"])
def test_no_embeddings(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(BROKEN[name])
    with pytest.raises(ConfigError, match=f"a.{ending} cannot be read as class embeddings"):
        read_embedding_file(str(path))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones(3), r"array \[3\]"),
        (np.ones((2, 3, 1)), r"array \[2, 3, 1\]"),
        (np.ones((0, 3)), r"array \[0, 3\]"),
        (np.ones((2, 3), int), "of int64"),
        (np.array([[1, np.nan]]), "NaN or Inf"),
        (np.array([[1, np.inf]]), "NaN or Inf"),
        (np.array([[1.0, 0], [0, 0]]), "length 0, number 1"),
        (np.array([[1e300, 1e300]]), "length inf, number 0"),
    ],
)
def test_arrays_that_are_no_embeddings(tmp_path: Path, values: np.ndarray, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_embedding_file(saved(tmp_path / "a.npy", values))


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ({}, "of nothing"),
        ({"a": np.ones(3), "b": np.ones(4)}, r"widths \[3, 4\]"),
        ({"a": np.ones((2, 3))}, "'a' is none"),
        ({"a": np.ones(3, np.int32)}, "'a' is none"),
        ({"a": np.array([np.nan, 1])}, "NaN or Inf"),
    ],
)
def test_vectors_that_are_no_embeddings(tmp_path: Path, vectors: dict, said: str) -> None:
    save_file(vectors, tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match=said):
        read_embedding_file(str(tmp_path / "a.safetensors"))


def test_a_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_file, "MAX_BYTES", 1 << 20)
    with pytest.raises(ConfigError, match="more than 1 MiB"):
        read_embedding_file(saved(tmp_path / "a.npy", np.ones((1 << 17, 1))))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError, match=r"gone\.npy"):
        read_embedding_file(str(tmp_path / "gone.npy"))
