"""Cityscapes, fine annotations: the 19 classes of the benchmark."""

from pathlib import Path

from phreg.config.labels import LabelledSetConfig
from phreg.evaluate.datasets.label_map import LabelMap
from phreg.evaluate.datasets.layout import entries, find_folder, list_files, missing, require_same
from phreg.evaluate.datasets.names import official_names
from phreg.evaluate.datasets.paired import Pair, PairedSet

_LAYOUT = (
    "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png and gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png (SPLIT: val)"
)
_PLACES = ("", "cityscapes")

# Ids of the 19 classes in order of their train ids; the other ids up to 33 are not evaluated.
_EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_IDS = range(34)


def open_cityscapes(config: LabelledSetConfig, root: Path) -> PairedSet:
    """Stored: the 34 label ids of the official masks, read without the conversion to train ids."""
    base = find_folder(root, _PLACES, "leftImg8bit", _LAYOUT)
    split = config.split or "val"
    images = _list(base / "leftImg8bit" / split, "_leftImg8bit.png")
    masks = _list(base / "gtFine" / split, "_gtFine_labelIds.png")
    require_same(images, masks, "a mask")
    pairs = [Pair(key, images[key], labels=masks[key]) for key in images]
    label_map = LabelMap(
        {value: index for index, value in enumerate(_EVALUATED)},
        ignored=[value for value in _IDS if value not in _EVALUATED],
    )
    return PairedSet(config.kind, pairs[: config.images], official_names("cityscapes"), label_map)


def _list(folder: Path, suffix: str) -> dict[str, Path]:
    """Files of all cities by their name without the suffix, which starts with the city."""
    cities = [path for path in entries(folder) if path.is_dir()]
    if not cities:
        raise missing([folder / "CITY"], _LAYOUT)
    return {
        key: path for city in cities for key, path in list_files(city, (suffix.lower(),), _LAYOUT).items()
    }
