"""Images: shards and their names, decoding, crops, and packing a folder into shards."""

from phreg.data.crops import CropRule, cut, cut_middle
from phreg.data.decode import decode_image
from phreg.data.pack import PackReport, pack_images
from phreg.data.shard import (
    IMAGE_EXTENSIONS,
    Sample,
    Shard,
    ShardSize,
    count_samples,
    measure_shard,
    read_shard,
)
from phreg.data.urls import expand_images, expand_urls, shard_name

__all__ = [
    "IMAGE_EXTENSIONS",
    "CropRule",
    "PackReport",
    "Sample",
    "Shard",
    "ShardSize",
    "count_samples",
    "cut",
    "cut_middle",
    "decode_image",
    "expand_images",
    "expand_urls",
    "measure_shard",
    "pack_images",
    "read_shard",
    "shard_name",
]
