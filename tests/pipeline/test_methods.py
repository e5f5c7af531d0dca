"""Measuring a method on labelled sets, as a worker does it: what is left out, stored, and measured again."""

import pytest

from phreg.pipeline import methods
from tests.pipeline.conftest import LabelledWorld


def test_every_column_says_how_many_images_it_left_out(labelled_world: LabelledWorld) -> None:
    labelled_world.images("train")[-1].write_bytes(b"no image")
    labelled_world.images("test")[-1].write_bytes(b"no image")
    found = labelled_world.measured()
    assert [found[f"{name} skipped"] for name in ("scenes", "labels", "depth")] == [1, 2, 2]


def test_what_left_images_out_is_measured_again(
    labelled_world: LabelledWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "SAMPLED_IMAGES", 1)  # as of a large set: the broken image is not looked at
    image = labelled_world.images("test")[-1]
    whole = image.read_bytes()
    image.write_bytes(b"no image")
    assert labelled_world.measured()["scenes skipped"] == 1
    image.write_bytes(whole)
    mended = labelled_world.measured()
    assert not mended.get("scenes skipped")
    monkeypatch.setattr(methods, "measure_column", lambda *_: pytest.fail("measured again"))
    assert labelled_world.measured() == mended
