import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from phreg.data import decode, decode_image
from phreg.data.decode import MAX_PIXELS
from phreg.errors import SampleError
from tests.helpers import jpeg_bytes, make_image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    image = decode_image(data)
    assert image.mode == "RGB"
    return np.asarray(image)


RGB = make_image(1, 24, 16)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "GIF", "JPEG", "WEBP"])
def test_every_format(kind: str) -> None:
    image = RGB.quantize(200).convert("RGB") if kind == "GIF" else RGB
    options = {"lossless": True} if kind == "WEBP" else {}
    difference = np.abs(pixels(encoded(image, kind, **options)).astype(int) - np.asarray(image))
    assert difference.mean() <= (12 if kind == "JPEG" else 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_extreme_sizes(size: tuple[int, int]) -> None:
    assert decode_image(encoded(Image.new("RGB", size, "red"))).size == size


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_becomes_three_equal_channels(mode: str) -> None:
    grey = RGB.convert(mode)
    expected = np.repeat(np.asarray(grey.convert("L"))[..., None], 3, axis=-1)
    np.testing.assert_array_equal(pixels(encoded(grey)), expected)


def test_cmyk() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for kind in ("TIFF", "JPEG"):
        np.testing.assert_allclose(pixels(encoded(image, kind))[4, 4], (255, 0, 0), atol=2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_scale_to_eight(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    np.testing.assert_array_equal(
        pixels(encoded(Image.fromarray(values), kind))[0, :, 0], [0, 0, 1, 1, 128, 255]
    )


def test_grey_whose_range_is_not_known_is_refused() -> None:
    for values in (
        np.full((2, 2), 70_000, np.int32),
        np.full((2, 2), -1, np.int32),
        np.ones((2, 2), np.float32),
    ):
        with pytest.raises(SampleError, match="range"):
            decode_image(encoded(Image.fromarray(values), "TIFF"))


def palette_with_alpha() -> bytes:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 255, 255, 0, 0])
    image.putpixel((1, 0), 1)
    return encoded(image, transparency=bytes([0, 128]))


def test_transparency_lies_on_white() -> None:
    result = pixels(palette_with_alpha())
    np.testing.assert_array_equal(result[0, 0], (255, 255, 255))
    np.testing.assert_allclose(result[0, 1], (255, 127, 127), atol=1)
    for mode, colour, seen in [
        ("RGBA", (0, 0, 255, 0), 255),
        ("LA", (0, 0), 255),
        ("LA", (0, 255), 0),
        ("RGBA", (0, 0, 0, 255), 0),
    ]:
        np.testing.assert_array_equal(pixels(encoded(Image.new(mode, (4, 4), colour)))[2, 2], (seen,) * 3)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "I;16", "key"])
def test_large_images_are_converted_by_strips_to_the_same_pixels(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (23, 17, 4), dtype=np.uint8)
    image = Image.fromarray(noise)
    data = {
        "RGBA": lambda: encoded(image),
        "LA": lambda: encoded(image.convert("LA")),
        "P": lambda: encoded(image.convert("RGB").quantize(16), transparency=bytes(range(0, 256, 16))),
        "I;16": lambda: encoded(Image.fromarray(noise[..., 0].astype(np.uint16) * 257)),
        "key": lambda: encoded(image.convert("RGB"), transparency=tuple(noise[3, 3, :3].tolist())),
    }[kind]()
    whole = pixels(data)
    monkeypatch.setattr(decode, "STRIP_PIXELS", 5 * 17)
    np.testing.assert_array_equal(pixels(data), whole)


@pytest.mark.parametrize(("mode", "value"), [("L", 7), ("RGB", (1, 2, 3)), ("P", 0)])
def test_one_transparent_colour(mode: str, value: object) -> None:
    image = Image.new(mode, (4, 4), value)  # type: ignore[arg-type]
    np.testing.assert_array_equal(pixels(encoded(image, transparency=value))[0, 0], (255, 255, 255))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_to_the_pixels(orientation: int, kind: str) -> None:
    """EXIF 2.32, 4.6.4: where the stored first row and first column are seen."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255  # the top left is white
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = pixels(encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif))
    np.testing.assert_allclose(result, upright, atol=12)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_unreadable_exif_loses_no_image() -> None:
    data = encoded(RGB, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\xff\xff\xff\xff\xff")
    assert decode_image(data).size == RGB.size


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG", "MPO"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    result = pixels(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    np.testing.assert_allclose(result[8, 8], (255, 0, 0), atol=1)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_that_claims(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


JPEG = jpeg_bytes(make_image(2, 64, 64))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no bytes"),
        (bytes(5000), "not an image"),
        (b"<!DOCTYPE html><html>404</html>", "DOCTYPE"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:-40], "truncated"),
        (JPEG[:20], "."),
        (encoded(RGB)[:-30], "."),
        (encoded(RGB, "WEBP")[:-30], "."),
        (encoded(RGB, "TIFF")[:-30], "."),
        (encoded(RGB, "BMP")[:-30], "truncated"),
        (encoded(RGB, "GIF")[:-30], "."),
        (encoded(RGB, "PPM")[:-30], "."),
        (png_that_claims(10_000, 10_000), "pixels"),
        (png_that_claims(60_000, 60_000), "pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (encoded(RGB, "ICO"), "not an image"),
    ],
)
def test_what_is_no_whole_image_is_a_sample_error(data: bytes, reason: str) -> None:
    with pytest.raises(SampleError, match=reason) as caught:
        decode_image(data)
    assert 0 < len(caught.value.problem) < 300
    assert " at 0x" not in str(caught.value)  # the same reason wherever it is met
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_pixel_limit_holds_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # what some libraries do
    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    with pytest.raises(SampleError, match=str(MAX_PIXELS)):
        decode_image(png_that_claims(MAX_PIXELS + 1, 1))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["PNG", "BMP", "PPM", "TIFF", "GIF", "JPEG", "WEBP"]),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_hostile_bytes_end_in_an_image_or_a_sample_error(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(encoded(make_image(3, 12, 9), kind))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        image = decode_image(bytes(data))
    except SampleError:
        return
    assert image.mode == "RGB"
