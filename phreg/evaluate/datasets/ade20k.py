"""ADE20K as the scene parsing challenge of 2016 gave it out: 150 classes."""

from pathlib import Path

from phreg.config.labels import LabelledSetConfig
from phreg.evaluate.datasets.label_map import without_zero
from phreg.evaluate.datasets.layout import find_folder, list_files, require_same
from phreg.evaluate.datasets.names import official_names
from phreg.evaluate.datasets.paired import Pair, PairedSet

_LAYOUT = "ADEChallengeData2016/ with images/SPLIT/KEY.jpg and annotations/SPLIT/KEY.png (SPLIT: validation)"
_PLACES = ("", "ADEChallengeData2016", "ade/ADEChallengeData2016")


def open_ade20k(config: LabelledSetConfig, root: Path) -> PairedSet:
    """Stored: 0 for other objects, which is ignored, and 1 to 150 the classes."""
    base = find_folder(root, _PLACES, "annotations", _LAYOUT)
    split = config.split or "validation"
    images = list_files(base / "images" / split, (".jpg",), _LAYOUT)
    masks = list_files(base / "annotations" / split, (".png",), _LAYOUT)
    require_same(images, masks, "a mask")
    pairs = [Pair(key, images[key], labels=masks[key]) for key in images][: config.images]
    return PairedSet(config.kind, pairs, official_names("ade20k"), without_zero(150))
