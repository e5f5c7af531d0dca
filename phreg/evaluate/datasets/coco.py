"""COCO 2017 with the pixel maps of COCO-Stuff: all 171 classes, or the 80 objects and background."""

from pathlib import Path

from phreg.config.labels import LabelledSetConfig
from phreg.evaluate.datasets.label_map import LabelMap
from phreg.evaluate.datasets.layout import entries, list_files, missing, require_same
from phreg.evaluate.datasets.names import official_names
from phreg.evaluate.datasets.paired import Pair, PairedSet
from phreg.evaluate.scores import IGNORE

_LAYOUT = (
    "SPLIT (val2017) as [images/]SPLIT/ID.jpg, and its pixel maps as ID.png (as published) or "
    "ID_labelTrainIds.png (as mmsegmentation converts them) in stuffthingmaps_trainval2017/SPLIT, "
    "stuffthingmaps/SPLIT, annotations/SPLIT or SPLIT"
)
_IMAGES = ("images/{}", "{}")
_MASKS = ("stuffthingmaps_trainval2017/{}", "stuffthingmaps/{}", "annotations/{}", "{}")

# Published pixel values are COCO's ids less 1; these ids were never given to anything.
_UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
_VALUES = tuple(number - 1 for number in range(1, 183) if number not in _UNUSED_IDS)
_THINGS = 80
_CONVERTED = "_labelTrainIds"


def open_coco(config: LabelledSetConfig, root: Path) -> PairedSet:
    """Published: 0 to 90 things, 91 to 181 stuff, with gaps; 255 where nothing was labelled."""
    split = config.split or "val2017"
    images = _find(root, _IMAGES, split, (".jpg",))
    masks = _find(root, _MASKS, split, (".png",))
    # A conversion leaves its files beside the published ones, which are read where both are there.
    converted = {key[: -len(_CONVERTED)]: path for key, path in masks.items() if key.endswith(_CONVERTED)}
    published = {key: path for key, path in masks.items() if not key.endswith("TrainIds")}
    masks, values = (published, _VALUES) if published else (converted, tuple(range(len(_VALUES))))
    if not masks:
        raise missing([root / place.format(split) / "*_labelTrainIds.png" for place in _MASKS], _LAYOUT)
    require_same(images, masks, "a pixel map")
    pairs = [Pair(key, images[key], labels=masks[key]) for key in images][: config.images]
    if config.kind == "coco_stuff":
        label_map = LabelMap({value: index for index, value in enumerate(values)})
        return PairedSet(config.kind, pairs, official_names("coco_stuff"), label_map)
    return PairedSet(config.kind, pairs, official_names("coco_object"), _objects(values), background=0)


def _objects(values: tuple[int, ...]) -> LabelMap:
    """Things from 1; all else is background, also what nobody labelled, so that nothing is ignored.

    So GroupViT's conversion has it, which TCL and SCLIP use.
    """
    stuff = dict.fromkeys((*values[_THINGS:], IGNORE), 0)
    return LabelMap({value: index + 1 for index, value in enumerate(values[:_THINGS])} | stuff)


def _find(root: Path, places: tuple[str, ...], split: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files of the first place that has any."""
    folders = [root / place.format(split) for place in places]
    for folder in folders:
        if any(path.suffix.lower() in suffixes for path in entries(folder)):
            return list_files(folder, suffixes, _LAYOUT)
    raise missing([folder / f"*{suffixes[0]}" for folder in folders], _LAYOUT)
