import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phreg.errors import DataError
from phreg.evaluate.datasets.reading import read_image, read_index_mask, read_millimetres
from tests.evaluate.datasets.trees import (
    HEIGHT,
    WIDTH,
    opened,
    write_depth,
    write_image,
    write_mask,
    write_text,
)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_and_depth_turn_with_their_image(tmp_path: Path, orientation: int) -> None:
    """Red holds the label of each stored pixel, so that wherever it goes its label must go too."""
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    path = write_image(tmp_path / "images/a.png", orientation=orientation)
    exif = Image.open(path).getexif()
    Image.fromarray(np.stack([values] * 3, -1)).save(path, exif=exif)
    write_mask(tmp_path / "labels/a.png", values)
    write_depth(tmp_path / "depth/a.png", values.astype(np.uint16) * 1000)
    write_text(tmp_path / "classes.txt", *(f"class {value}" for value in values.ravel()))
    item = opened("folder", tmp_path)[0]
    assert item.image.shape[:2] == ((HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT))
    assert item.labels is not None
    assert item.depth is not None
    assert (item.labels == item.image[..., 0]).all()
    assert (item.depth == item.labels).all()
    assert np.array_equal(item.labels, values) == (orientation == 1)


def test_a_mask_of_the_upright_size_is_no_match(tmp_path: Path) -> None:
    """It could be told from a stored one only where width and height differ: better no guess at all."""
    write_image(tmp_path / "images/a.jpg", orientation=6)
    write_mask(tmp_path / "labels/a.png", np.zeros((WIDTH, HEIGHT)))
    write_text(tmp_path / "classes.txt", "x")
    with pytest.raises(DataError, match=r"labels/a\.png and .*images/a\.jpg differ in size[\s\S]*EXIF"):
        opened("folder", tmp_path)[0]


def test_arrays_may_be_written_to(tmp_path: Path) -> None:
    """torch warns of arrays that may not."""
    pixels, _ = read_image(write_image(tmp_path / "a.jpg"))
    pixels[:] = 0
    read_index_mask(write_mask(tmp_path / "a.png", 1))[:] = 0
    read_millimetres(write_depth(tmp_path / "b.png", 1))[:] = 0


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_few_colours_keep_their_indices(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "a.png"
    image = Image.new("P", (4, 1))
    image.putdata([0, 1, 1, 0])
    image.putpalette([90, 90, 90, 0, 0, 0])
    image.save(path, bits=bits)
    assert read_index_mask(path).tolist() == [[0, 1, 1, 0]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1", "I;16"])
def test_masks_of_other_pixels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(DataError, match=rf"a\.png[\s\S]*8-bit grey or palette[\s\S]*mode {mode}"):
        read_index_mask(path)


def grey_png(bits: int) -> bytes:
    """A 2x1 grey PNG of few bits, which Pillow reads but does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" + bytes([0b01100000 if bits == 2 else 0b00010010]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_is_refused(tmp_path: Path, bits: int) -> None:
    """Pillow scales its values to 8 bits: class 1 would read as 85 or 17."""
    path = tmp_path / "a.png"
    path.write_bytes(grey_png(bits))
    assert np.asarray(Image.open(path)).max() > 3
    with pytest.raises(DataError, match=rf"mode L;{bits}"):
        read_index_mask(path)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_files_that_are_no_png(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for read in (read_index_mask, read_millimetres, read_image):
        with pytest.raises(DataError, match=r"a\.png"):
            read(path)


def test_a_png_that_is_cut_short(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "a.png", np.random.default_rng(0).integers(0, 9, (64, 64)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"a\.png"):
        read_index_mask(path)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read .*a\.png[\s\S]*No such file"):
        read_index_mask(tmp_path / "a.png")
