"""PASCAL VOC 2012: `voc21` with the background as class 0, `voc20` without it."""

from pathlib import Path

from phreg.config.labels import LabelledSetConfig
from phreg.evaluate.datasets.label_map import as_stored, without_zero
from phreg.evaluate.datasets.layout import find_folder, inside, list_files, read_split, require
from phreg.evaluate.datasets.names import official_names
from phreg.evaluate.datasets.paired import Pair, PairedSet

_LAYOUT = (
    "[VOCdevkit/]VOC2012/ with JPEGImages/KEY.jpg, SegmentationClass/KEY.png and "
    "ImageSets/Segmentation/SPLIT.txt"
)
_PLACES = ("", "VOC2012", "VOCdevkit/VOC2012")


def open_voc(config: LabelledSetConfig, root: Path) -> PairedSet:
    """Stored: 0 background, 1 to 20 the classes, 255 the outlines of objects, which are ignored."""
    base = find_folder(root, _PLACES, "SegmentationClass", _LAYOUT)
    keys = split_keys(base / "ImageSets/Segmentation" / f"{config.split or 'val'}.txt", _LAYOUT)
    pairs = voc_pairs(base, base / "SegmentationClass", ".png", keys, _LAYOUT)[: config.images]
    classes = official_names("voc21")
    if config.kind == "voc21":
        return PairedSet(config.kind, pairs, classes, as_stored(21), background=0)
    return PairedSet(config.kind, pairs, classes[1:], without_zero(20))


def split_keys(path: Path, layout: str) -> list[str]:
    """The keys of a VOC split file: the first word of each line."""
    return [inside(words[0], str(path)) for words in read_split(path, layout)]


def voc_pairs(base: Path, masks: Path, suffix: str, keys: list[str], layout: str) -> list[Pair]:
    """`base/JPEGImages/KEY.jpg` with `masks/KEY` + suffix. Raises `DataError` for keys without files."""
    images = list_files(base / "JPEGImages", (".jpg",), layout)
    labels = list_files(masks, (suffix,), layout)
    require(keys, images, base / "JPEGImages", "an image for every key of the split")
    require(keys, labels, masks, "a mask for every key of the split")
    return [Pair(key, images[key], labels=labels[key]) for key in keys]
