"""Crops and views are functions of what they belong to, and come in order."""

import threading
from pathlib import Path

import numpy as np
import pytest

from phreg.data import read_shard
from phreg.generate import Crop, crops_of
from phreg.generate.crops import read_crops
from phreg.types import Quarantined
from tests.generate.worlds import SIZE, make_world
from tests.helpers import jpeg_bytes, make_image, write_shard, write_tar


def views_of(crop: Crop) -> bytes:
    return crop.views.offsets.tobytes() + crop.views.flips.tobytes()


def test_crops_are_the_same_whenever_asked_and_differ_among_themselves(tmp_path: Path) -> None:
    spec = make_world(tmp_path, crops_per_image=3, views=8).spec
    shard = read_shard(str(write_shard(tmp_path / "a.tar", 2)))
    crops = crops_of(spec, shard.name, shard.samples[0])
    again = crops_of(spec, shard.name, shard.samples[0])
    assert [crop.index for crop in crops] == [0, 1, 2]
    for crop, same in zip(crops, again, strict=True):
        assert crop.pixels.shape == (SIZE, SIZE, 3)
        assert crop.box == same.box
        assert np.array_equal(crop.pixels, same.pixels)
        assert np.array_equal(crop.views.offsets, same.views.offsets)
        assert np.array_equal(crop.views.flips, same.views.flips)
    assert len({crop.box for crop in crops}) == 3
    elsewhere = crops_of(spec, "another-shard", shard.samples[0])
    assert [crop.box for crop in crops] != [crop.box for crop in elsewhere]
    for others in (elsewhere, crops_of(spec, shard.name, shard.samples[1])):
        assert [views_of(crop) for crop in crops] != [views_of(crop) for crop in others]
    assert len({views_of(crop) for crop in crops}) == 3


@pytest.mark.parametrize("ahead", [0, 1, 20])
def test_samples_come_in_the_shard_s_order_bad_ones_with_their_reason(tmp_path: Path, ahead: int) -> None:
    spec = make_world(tmp_path).spec
    members = [(f"s{i}.jpg", jpeg_bytes(make_image(i))) for i in range(8)]
    members[3] = ("s3.jpg", members[3][1][:200])
    shard = read_shard(str(write_tar(tmp_path / "a.tar", members)))
    found = list(read_crops(spec, shard, ahead=ahead))
    keys = [sample.key if isinstance(sample, Quarantined) else sample[0].key for sample in found]
    assert keys == [f"s{i}" for i in range(8)]
    assert isinstance(found[3], Quarantined)
    assert found[3].reason


def test_decoding_stays_a_bounded_way_ahead_and_ends_with_its_reader(tmp_path: Path, monkeypatch) -> None:
    spec = make_world(tmp_path).spec
    shard = read_shard(str(write_shard(tmp_path / "a.tar", 20)))
    begun = []

    def counting(*arguments):
        begun.append(arguments[2].key)
        return crops_of(*arguments)

    monkeypatch.setattr("phreg.generate.crops.crops_of", counting)
    samples = read_crops(spec, shard, ahead=3)
    next(samples)
    samples.close()
    assert 1 <= len(begun) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("phreg-decode")]
