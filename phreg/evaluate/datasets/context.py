"""PASCAL Context on VOC 2010: `context60` with the background as class 0, `context59` without it."""

from pathlib import Path

from phreg.config.labels import LabelledSetConfig
from phreg.evaluate.datasets.label_map import LabelMap, as_stored, without_zero
from phreg.evaluate.datasets.layout import find_folder, missing
from phreg.evaluate.datasets.mat import read_label_matrix
from phreg.evaluate.datasets.names import official_names
from phreg.evaluate.datasets.paired import PairedSet
from phreg.evaluate.datasets.reading import read_index_mask
from phreg.evaluate.datasets.voc import split_keys, voc_pairs

_LAYOUT = (
    "[VOCdevkit/]VOC2010/ with JPEGImages/KEY.jpg, and either trainval/KEY.mat (as published) and "
    "ImageSets/Main/SPLIT.txt, or SegmentationClassContext/KEY.png and "
    "ImageSets/SegmentationContext/SPLIT.txt (as mmsegmentation converts it)"
)
_PLACES = ("", "VOC2010", "VOCdevkit/VOC2010")

# Of the 459 published labels (their `labels.txt`, from 1) those of the 59-class task, in class order.
_PUBLISHED = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98,
    104, 105, 113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308,
    324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip
_LAST_PUBLISHED = 459


def open_context(config: LabelledSetConfig, root: Path) -> PairedSet:
    """Converted masks store 0 background and 1 to 59 the classes; published ones the 459 labels."""
    base = find_folder(root, _PLACES, "JPEGImages", _LAYOUT)
    converted = (base / "SegmentationClassContext").is_dir()
    masks = _find_masks(root, base, converted)
    splits = base / "ImageSets" / ("SegmentationContext" if converted else "Main")
    keys = split_keys(splits / f"{config.split or 'val'}.txt", _LAYOUT)
    pairs = voc_pairs(base, masks, ".png" if converted else ".mat", keys, _LAYOUT)[: config.images]
    has_background = config.kind == "context60"
    classes = official_names("context60")
    return PairedSet(
        config.kind,
        pairs,
        classes if has_background else classes[1:],
        _converted(has_background) if converted else _published(has_background),
        background=0 if has_background else None,
        read_mask=read_index_mask if converted else read_label_matrix,
    )


def _find_masks(root: Path, base: Path, converted: bool) -> Path:
    """The published masks come in an archive of their own, unpacked beside VOC or into it."""
    if converted:
        return base / "SegmentationClassContext"
    places = [base / "trainval", root / "trainval"]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise missing([base / "SegmentationClassContext", *dict.fromkeys(places)], _LAYOUT)
    return found


def _converted(has_background: bool) -> LabelMap:
    return as_stored(60) if has_background else without_zero(59)


def _published(has_background: bool) -> LabelMap:
    """The 400 labels outside the task are background, as is 0; 255 is one of them, not the ignore index."""
    classes = {label: index + has_background for index, label in enumerate(_PUBLISHED)}
    others = [label for label in range(_LAST_PUBLISHED + 1) if label not in classes]
    if has_background:
        return LabelMap(classes | dict.fromkeys(others, 0))
    return LabelMap(classes, ignored=others)
