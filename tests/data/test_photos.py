"""The workplace's photographs, greyscale and small ones included, through shards, decoding and crops."""

from pathlib import Path

import numpy as np
import pytest

from phreg.data import CropRule, count_samples, cut, decode_image, expand_urls, read_shard

pytestmark = pytest.mark.shared


def test_every_photo_shard_is_whole(shared_folder: Path) -> None:
    urls = expand_urls([f"{shared_folder}/data/photos/photos-{{000000..000005}}.tar"])
    assert urls == expand_urls([f"{shared_folder}/data/photos/*.tar"])
    shards = [read_shard(url) for url in urls]
    assert [len(shard.samples) for shard in shards] == [50] * 6
    assert [count_samples(url) for url in urls] == [50] * 6
    assert not any(shard.quarantined for shard in shards)
    assert len({shard.digest for shard in shards}) == 6


def test_photos_decode_and_crop(shared_folder: Path) -> None:
    rule = CropRule(image_size=56, min_crop=0.5, crops_per_image=2, seed=0)
    shard = read_shard(f"{shared_folder}/data/photos/photos-000001.tar")
    for sample in shard.samples:
        image = decode_image(sample.image)
        for index in range(rule.crops_per_image):
            box = rule.box(shard.name, sample.key, index, *image.size)
            crop = cut(image, box, rule.image_size)
            assert crop.shape == (56, 56, 3)
            assert np.ptp(crop) > 20, f"{sample.key} came out flat"
